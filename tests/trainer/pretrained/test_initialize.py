"""Initial weights: read from runs and files, fitted by name and shape, reported, and refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.formats import open_dataset
from trainer import checkpoint
from trainer.config import Run
from trainer.errors import InterruptedRunError, RunError
from trainer.models import ResNet8, ResNet18, TorchvisionModel
from trainer.pretrained.files import read
from trainer.pretrained.initialize import LoadReport, load
from trainer.pretrained.normalization import normalization
from trainer.session import Session

Recipe = Callable[..., Run]
Train = Callable[..., Session]
SMALL: dict[str, Any] = {"model": {"name": "resnet8", "width": 4}, "epochs": 1, "log_every": 2}


def network(classes: int = 10, seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return ResNet8(width=4).build(classes)


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def equal(one: nn.Module, other: nn.Module, without: str = "nothing") -> bool:
    theirs = other.state_dict()
    return all(torch.equal(v, theirs[n]) for n, v in one.state_dict().items() if not n.startswith(without))


@pytest.mark.parametrize("prefix", ["", "module.", "module.encoder.", "student.backbone."])
@pytest.mark.parametrize("entry", [None, "state_dict", "model"])
def test_names_of_wrappers_are_left_out(tmp_path: Path, prefix: str, entry: str | None) -> None:
    other = network(seed=2)
    state = {f"{prefix}{name}": value for name, value in other.state_dict().items()}
    state |= {
        f"teacher.{prefix}{name}": torch.zeros_like(value) for name, value in other.state_dict().items()
    }
    path = saved(tmp_path / "x.pt", state if entry is None else {entry: state, "epoch": 3})
    net = network()
    report = load(path, net)
    assert equal(net, other)
    assert report.loaded == report.total == len(other.state_dict())
    # Without a prefix the teacher's stand among the network's own.
    assert bool(report.unexpected) == (prefix == "")


def test_safetensors_are_read(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    other, net = network(seed=2), network()
    safetensors.save_file(other.state_dict(), tmp_path / "model.safetensors")
    for path in (tmp_path / "model.safetensors", tmp_path):
        assert load(path, net).loaded == len(other.state_dict())
        assert equal(net, other)


def test_a_classifier_of_other_classes_is_left_out_with_a_note(tmp_path: Path) -> None:
    other, net = network(classes=7, seed=2), network()
    before = network()
    report = load(saved(tmp_path / "x.pt", other.state_dict()), net)
    assert equal(net, other, without="head")
    assert torch.equal(net.head.weight, before.head.weight)  # type: ignore[arg-type]
    assert torch.equal(net.head.bias, before.head.bias)  # type: ignore[arg-type]
    assert report.classes == 7
    assert report.misshaped == report.missing == report.unexpected == ()  # type: ignore[comparison-overlap]
    assert "the classifier of 7 outputs is left out" in "".join(report.notes())


def test_a_network_of_features_needs_no_classifier(tmp_path: Path) -> None:
    other, net = network(seed=2), network(classes=0)
    report = load(saved(tmp_path / "x.pt", other.state_dict()), net)
    assert equal(net, other)
    assert report.unexpected == ()


def test_missing_unexpected_and_misshaped_tensors_are_named(tmp_path: Path) -> None:
    state = network(seed=2).state_dict()
    del state["stem.0.weight"]
    state["blocks.0.conv1.weight"] = torch.zeros(2, 3)
    state["extra"] = torch.zeros(1)
    net = network()
    report = load(saved(tmp_path / "x.pt", state), net)
    assert report.missing == ("stem.0.weight",)
    assert report.unexpected == ("extra",)
    assert report.misshaped == (("blocks.0.conv1.weight", (2, 3), (4, 4, 3, 3)),)
    assert report.loaded == report.total - 2
    first, *rest = report.notes()
    assert first == f"initial weights: {report.loaded} of {report.total} tensors from {tmp_path / 'x.pt'}"
    assert [
        name in line
        for name, line in zip(("stem.0.weight", "extra", "2x3 there, 4x4x3x3 here"), rest, strict=True)
    ]


def test_long_lists_of_names_are_cut() -> None:
    report = LoadReport("x", 1, 9, missing=tuple("abcdefg"))
    assert report.notes()[1] == (
        "initial weights: a, b, c and 4 more missing there, left as initialized at random"
    )


def test_weights_of_another_network_are_refused_in_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pt", TorchvisionModel("resnet18").build(10).state_dict())
    net, before = network(), network()
    for other in (net, ResNet18(width=4).build(10)):
        with pytest.raises(
            RunError, match=r"must be those of this network; .* has 0 of the .* of ResNet "
        ) as refused:
            load(path, other)
        assert "\n" not in str(refused.value)
    assert equal(net, before)


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"nothing", "isn't"), (b"", "isn't"), (None, "does not exist"), ("folder", "holds neither")],
)
def test_what_holds_no_weights_is_refused_in_one_line(tmp_path: Path, content: Any, line: str) -> None:
    path = tmp_path / "x.pt"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=line) as refused:
        read(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(3)])
def test_a_file_without_names_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(RunError, match=r"must be tensors by name; .* save model.state_dict"):
        read(saved(tmp_path / "x.pt", content))


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nothing!")
    with pytest.raises(RunError, match=r"must be a whole .safetensors file") as refused:
        read(tmp_path / "x.safetensors")
    assert "\n" not in str(refused.value)


def test_densenets_of_older_names_are_renamed() -> None:
    model = TorchvisionModel("densenet121")
    with torch.device("meta"):
        net = model.build(10)
    older = {
        name.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2.")
        if "denselayer" in name
        else name: value
        for name, value in net.state_dict().items()
    }
    assert older.keys() != net.state_dict().keys()
    assert model.convert(older, net).keys() == net.state_dict().keys()


def test_a_run_begins_from_another_runs_weights_and_resumes_without_them(
    recipe: Recipe, train_run: Train, watch: Callable[..., Any], tmp_path: Path
) -> None:
    first = train_run(recipe(**SMALL, name="first"))
    folder = first.folder.path
    entries = {**SMALL, "init_from": str(folder), "freeze": ["backbone"]}
    whole = train_run(recipe(**entries, name="whole"), watch())
    assert equal(whole.encoder, first.encoder, without="head")
    assert "init_from" in whole.folder.environment["data_sha256"]
    assert any("tensors from" in note for note in whole.data.notes)
    stopped = recipe(**entries, name="stopped")
    with pytest.raises(InterruptedRunError):
        train_run(stopped, watch(stop_at=4))
    folder.rename(tmp_path / "elsewhere")
    resumed = train_run(stopped, watch())
    assert resumed.fingerprint() == whole.fingerprint()
    # The last checkpoint of the resumed run has their digest, too.
    last = checkpoint.load(resumed.folder.checkpoint)
    assert last["inputs"]["init_from"] == whole.inputs["init_from"]
    with pytest.raises(RunError, match=r"does not exist"):
        train_run(recipe(**entries, name="new"))


def test_images_are_normalized_as_the_published_weights_were(fashion: Path, recipe: Recipe) -> None:
    card = open_dataset(fashion / "fashion_mnist" / "train.beton").card
    library = {"model": {"name": "torchvision", "arch": "resnet18"}}
    imagenet = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    pretrained = {"model": {**library["model"], "pretrained": True}}
    assert normalization(recipe(**library), card) == (card.mean, card.std)
    assert normalization(recipe(**pretrained), card) == imagenet
    assert normalization(recipe(**library, init_from="x.pt"), card) == imagenet
    assert normalization(recipe(**pretrained, std=[1, 1, 1]), card) == (imagenet[0], (1, 1, 1))
    # Our own networks have no published weights.
    assert normalization(recipe(**SMALL, init_from="x.pt"), card) == (card.mean, card.std)


def test_weights_of_two_sources_are_refused(recipe: Recipe) -> None:
    with pytest.raises(RunError, match=r"from one source; got --init-from x.pt and --model.pretrained"):
        recipe(model={"name": "torchvision", "pretrained": True}, init_from="x.pt")


def test_of_averaged_weights_the_average_is_read(recipe: Recipe, train_run: Train) -> None:
    first = train_run(recipe(**SMALL, ema=0.9))
    assert first.average is not None
    state = read(first.folder.path)
    average = first.average.network.state_dict()
    assert state.keys() == average.keys()
    assert all(torch.equal(value, average[name]) for name, value in state.items())
    assert not equal(first.average.network, first.encoder)


def test_what_is_no_regular_file_is_not_called_absent() -> None:
    with pytest.raises(RunError, match="/dev/zero is no regular file: name another"):
        load(Path("/dev/zero"), network())
