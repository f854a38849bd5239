"""From features without labels to what is made of them: linear evaluation, export, fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from tools.evaluate import Evaluate
from tools.export import Export
from trainer import RunFolder, load, open_session
from trainer.config import Run
from trainer.errors import RunError
from trainer.inference.backbone import Backbone, open_backbone
from trainer.loop import train
from trainer.models import MODELS
from trainer.models.weights import read_safetensors
from trainer.parallel import World
from trainer.recipe import from_table
from trainer.watch import Silent


def table(data: Path, folder: Path, **entries: Any) -> Run:
    return from_table(
        {
            "data": str(data),
            "test_data": str(data.with_name("test.beton")),
            "runs_dir": str(folder),
            "model": {"name": "resnet8", "width": 4},
            "batch_size": 32,
            "epochs": 1,
            "budget": 1.0,
            "device": "cpu",
            "threads": 1,
            **entries,
        },
        where="test",
    )


@pytest.fixture(scope="module")
def features(tiny_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of features."""
    folder = tmp_path_factory.mktemp("runs")
    run = table(
        tiny_directory / "tiny" / "train.beton",
        folder,
        method={"name": "simsiam", "out": 16, "bottleneck": 8},
        evaluator={"name": "knn", "k": 10},
    )
    train(run, RunFolder(folder / "features", run), World(), Silent()).close()
    return folder / "features"


def test_features_are_evaluated_linearly(features: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = Evaluate(features, linear=True, linear_epochs=2, linear_batch_size=16)
    assert command.execute(Console(width=100)) == 0
    assert "accuracy, last round" in capsys.readouterr().out
    assert (features / "linear" / "report.html").is_file()
    # The backbone is that of the run, statistics included, and only the classifier was trained.
    theirs, ours = open_backbone(features), open_backbone(features / "linear")
    state = ours.state("backbone")
    assert all(torch.equal(value, state[name]) for name, value in theirs.state("backbone").items())
    assert state.keys() == theirs.state("backbone").keys()
    # Again, it is finished.
    command.execute(Console(width=100))
    assert "This run is finished" in capsys.readouterr().out


def test_what_features_are_not_for_is_refused(features: Path) -> None:
    with pytest.raises(RunError, match=r"must be named after it, a data set or a folder; got none: for feat"):
        Evaluate(features).execute(Console())
    with pytest.raises(
        RunError, match=r"--linear trains and measures on the run's own sets.*; got data: leave"
    ):
        Evaluate(features, "cifar10", linear=True).execute(Console())
    with pytest.raises(RunError, match=r"`trainer evaluate .*features --linear` measures its features"):
        load(features)
    with pytest.raises(RunError, match=r"there is no .*best.pt: leave --best out"):
        Evaluate(features, linear=True, best=True).execute(Console())


def test_a_backbone_is_exported_without_classes(features: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    Export(features, formats=("backbone", "torchvision"), out=out).execute(Console(quiet=True))
    own, about = read_safetensors(out / "backbone.safetensors")
    named, _ = read_safetensors(out / "torchvision.safetensors")
    assert '"preprocessing"' in about["budgetrain_backbone"]
    assert "stem.0.weight" in own
    assert len(own) == len(named)
    assert torch.equal(own["blocks.2.shortcut.1.weight"], named["layer3.0.downsample.1.weight"])


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_ours_has_the_libraries_names(name: str) -> None:
    import timm
    import torchvision

    with torch.device("meta"):
        ours = Backbone(MODELS[name]().build(classes=10), name, "{}")
        vision = getattr(torchvision.models, name)()
        theirs = {"torchvision": vision, "timm": timm.create_model(name)}
    for layout, network in theirs.items():
        state = ours.state(layout)  # type: ignore[arg-type]
        expected = {key: value for key, value in network.state_dict().items() if not key.startswith("fc.")}
        assert state.keys() == expected.keys()
        assert [key for key in state if state[key].shape != expected[key].shape] == ["conv1.weight"]


def test_a_libraries_network_with_our_stem_computes_the_same() -> None:
    import torchvision

    ours = MODELS["resnet18"]().build(classes=0).eval()
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
    theirs = torchvision.models.resnet18()
    theirs.conv1, theirs.maxpool, theirs.fc = (
        nn.Conv2d(3, 64, 3, padding=1, bias=False),
        nn.Identity(),
        nn.Identity(),
    )
    theirs.load_state_dict(Backbone(ours, "resnet18", "{}").state("torchvision"))
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(images), ours(images), rtol=1e-4, atol=1e-4)


def test_a_layout_is_of_networks_that_have_it() -> None:
    lenet = Backbone(MODELS["lenet"]().build(classes=0), "lenet", "{}")
    with pytest.raises(
        RunError, match=r"layout timm is of ResNets, .*; lenet is neither: take --formats backb"
    ):
        lenet.state("timm")


def test_features_are_fine_tuned_with_labels(features: Path, tiny_directory: Path, tmp_path: Path) -> None:
    run = table(tiny_directory / "tiny" / "train.beton", tmp_path, init_from=str(features))
    with open_session(run, RunFolder(tmp_path / "tuned", run)) as session:
        backbone = open_backbone(features).network.state_dict()
        ours = session.encoder.state_dict()
        assert all(torch.equal(value, ours[name]) for name, value in backbone.items())
        assert "head.weight" in ours
        assert any("tensors from" in note for note in session.data.notes)
        for current in session.rounds():
            for _ in session.steps(current):
                pass
        assert 0 <= session.evaluate()["accuracy"] <= 1
