"""The README's examples run, and its links lead somewhere."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import pipeline
import samplers
from tools.cli import main
from trainer.models import MODELS

README = Path(__file__).parents[1] / "README.md"


def test_the_library_example_trains(fashion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (code,) = (example for example in examples if "sampler.observe" in example)
    assert len(code.splitlines()) < 15
    data = fashion.parent / "data"
    if not data.exists():
        data.symlink_to(fashion)
    monkeypatch.chdir(fashion.parent)
    torch.manual_seed(0)
    model = MODELS["resnet8"]().build(classes=10)
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
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (code,) = (example for example in examples if "profiled.save" in example)
    data = fashion.parent / "data"
    if not data.exists():
        data.symlink_to(fashion)
    monkeypatch.chdir(fashion.parent)
    exec(code, {})
    assert main(["profile", "profile.json"]) == 0
    assert "Timeline" in (fashion.parent / "profile.html").read_text()


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
