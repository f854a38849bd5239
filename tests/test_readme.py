"""The README's examples run, and its links lead somewhere."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pipeline
import samplers
from pipeline.device import resolve_device
from pipeline.sources import open_source
from pipeline.sources.torchvision import FashionMnist
from tools.cli import main
from trainer.models import MODELS

README = Path(__file__).parents[1] / "README.md"


def _examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_library_example_trains(fashion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = (example for example in _examples() if "sampler.observe" in example)
    assert len(code.splitlines()) < 15
    data = fashion.parent / "data"
    if not data.exists():
        data.symlink_to(fashion)
    monkeypatch.chdir(fashion.parent)
    torch.manual_seed(0)
    model = MODELS["resnet8"]().build(classes=10).to(resolve_device("auto"))
    before = [value.detach().clone() for value in model.parameters()]
    names = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05),
        "np": np,
        "itertools": itertools,
        **{name: getattr(pipeline, name) for name in pipeline.__all__},
        **{name: getattr(samplers, name) for name in samplers.__all__},
    }
    exec(code.replace("epochs=20", "epochs=2"), names)
    moved = [(old != new).any() for old, new in zip(before, model.parameters(), strict=True)]
    assert all(moved)
    probabilities = names["sampler"].probabilities()
    assert probabilities.std() > 0
    assert probabilities.sum() == pytest.approx(1)


def test_the_example_of_a_profile_writes_one(fashion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = (example for example in _examples() if "profiled.save" in example)
    data = fashion.parent / "data"
    if not data.exists():
        data.symlink_to(fashion)
    monkeypatch.chdir(fashion.parent)
    exec(code, {})
    assert main(["profile", "profile.json"]) == 0
    assert "Timeline" in (fashion.parent / "profile.html").read_text()


@pytest.mark.parametrize("adopted", [False, True])
def test_the_plain_loop_trains_with_and_without_the_three_lines(
    adopted: bool, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = (example for example in _examples() if "BudgetedLoader" in example)
    assert code.count("  # new\n") == 3
    lines = [line for line in code.splitlines() if adopted or not line.endswith("# new")]
    if FashionMnist().package.exists():
        _write_real_images(tmp_path / "data" / "FashionMNIST" / "raw")
    else:
        (tmp_path / "data").symlink_to(drawn)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec("\n".join(lines).replace("epochs=20", "epochs=4").replace("range(20)", "range(4)"), names)
    images, labels = names["data"].data[:, None] / 255, names["data"].targets
    right = (names["model"](images).argmax(1) == labels).float().mean()
    assert right > 0.5, right
    if adopted:
        assert names["loader"].round == names["loader"].rounds
        p = names["loader"]._sampler.probabilities()
        assert p.std() > 0


def _write_real_images(folder: Path) -> None:
    """Write the first images of Fashion-MNIST as torchvision keeps them."""
    folder.mkdir(parents=True)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        source = open_source("fashion_mnist", split=split, data_dir=folder)
        images = np.stack([np.atleast_3d(source.read(index))[..., 0] for index in range(1280)])
        for name, array in (("images-idx3", images), ("labels-idx1", source.labels[:1280].astype(np.uint8))):
            head = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">u4").tobytes()
            (folder / f"{prefix}-{name}-ubyte").write_bytes(head + array.tobytes())


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in [README, *README.parent.glob("*/README.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_answers_lead_to_files_functions_and_sections_that_are_there() -> None:
    (table,) = re.findall(r"## Where do I find \.\.\.\?\n\n(.*?)\n\n", README.read_text(), re.DOTALL)
    for name, path in re.findall(r"`(?:\w+\.)?(\w+)` in `(\w+/[\w/]+\.py)`", table):
        assert re.search(rf"def {name}\(", (README.parent / path).read_text()), f"{name} in {path}"
    for path in re.findall(r"`((?:pipeline|samplers|trainer)/[\w./]*)`", table):
        assert (README.parent / path).exists(), path
    for document, anchor in re.findall(r"\]\(([^)#:]*)#([\w-]+)\)", table):
        text = (README.parent / document if document else README).read_text()
        sections = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in sections}, (
            anchor
        )
