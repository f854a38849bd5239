"""timm's networks: as encoders, with their options, and their published weights out of the caches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainer.errors import RunError
from trainer.models import TimmModel, TorchvisionModel, check_encoder
from trainer.pretrained.initialize import initialize, load
from trainer.recipe import from_table

timm = pytest.importorskip("timm")

TINY = TimmModel("vit_tiny_patch16_224", image_size=32, options=("depth=2",))


@pytest.mark.parametrize("arch", ["test_vit", "test_resnet", "test_mambaout", "mobilenetv3_small_050"])
@pytest.mark.parametrize("classes", [0, 5])
def test_a_network_is_an_encoder(arch: str, classes: int) -> None:
    encoder = check_encoder(TimmModel(arch).build(classes).eval())
    size = timm.models.get_pretrained_cfg(arch).input_size
    with torch.no_grad():
        features = encoder.forward_features(torch.randn(2, *size))
        read = encoder.forward_head(features, pre_logits=True)
        assert read.shape == (2, encoder.num_features)
        torch.testing.assert_close(encoder.get_classifier()(read), encoder.forward_head(features))
        assert encoder.forward_head(features).shape == (2, classes or encoder.num_features)


def test_options_reach_the_constructor() -> None:
    network: Any = TINY.build(5)
    assert len(network.blocks) == 2
    assert network.patch_embed.img_size == (32, 32)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 5)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"arch": "vit_tinny_patch16_224"},
            "got 'vit_tinny_patch16_224': did you mean .*vit_tiny_patch16_224",
        ),
        ({"arch": "qqqq"}, "got 'qqqq': timm.list_models"),
        (
            {"arch": "resnet50.nope"},
            "must have a tag of published weights; .*: resnet50 has resnet50.a1_in1k",
        ),
        ({"options": ("depth",)}, "must be NAME=VALUE each; got 'depth'"),
        ({"image_size": 0}, "image_size must be at least 1 px; got 0"),
        ({"download": True}, "add --model.pretrained"),
    ],
)
def test_options_are_checked(options: dict[str, Any], line: str) -> None:
    with pytest.raises(RunError, match=line) as refused:
        TimmModel(**options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "part",
    [TimmModel("test_resnet", options=("dept=2",)), TimmModel("test_resnet", image_size=32)],
)
def test_an_option_that_the_network_lacks_is_one_line(part: TimmModel) -> None:
    with pytest.raises(RunError, match=r"must be options of test_resnet; got ") as refused:
        part.build(5)
    assert "\n" not in str(refused.value)


def test_position_weights_are_resampled(tmp_path: Path) -> None:
    """timm's own filter does it."""
    other = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, num_classes=7)
    torch.save(other.state_dict(), tmp_path / "x.pt")
    network = TINY.build(5)
    report = load(tmp_path / "x.pt", network, TINY.convert)
    assert report.misshaped == report.missing == report.unexpected == ()  # type: ignore[comparison-overlap]
    assert report.classes == 7
    assert network.get_parameter("pos_embed").shape == (1, 5, 192)
    assert torch.equal(network.get_parameter("cls_token"), other.cls_token)


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two empty caches, below one folder."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


def test_published_weights_come_from_the_cache_of_the_hub(caches: Path) -> None:
    part = TimmModel("test_resnet", pretrained=True)
    with pytest.raises(
        RunError, match=r"timm/test_resnet.r160_in1k isn't: add --model.download, or .*--init-from"
    ):
        part.weights_file()
    torch.manual_seed(1)
    published = timm.create_model("test_resnet", num_classes=1000)
    snapshot = caches / "hub" / "models--timm--test_resnet.r160_in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    pytest.importorskip("safetensors.torch").save_file(published.state_dict(), snapshot / "model.safetensors")
    assert part.weights_file() == snapshot / "model.safetensors"
    run = from_table({"model": {"name": "timm", "arch": "test_resnet", "pretrained": True}}, where="test")
    network = run.model.build(5)
    report = initialize(run, network)
    assert report is not None
    assert report.classes == 1000
    assert torch.equal(network.get_parameter("conv1.0.weight"), published.get_parameter("conv1.0.weight"))


def test_published_weights_come_from_the_cache_of_torch_hub(caches: Path) -> None:
    part = TorchvisionModel("resnet18", pretrained=True)
    with pytest.raises(RunError, match=r"resnet18-f37072fd.pth isn't: add --model.download"):
        part.weights_file()
    file = caches / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    network: nn.Module = TorchvisionModel("resnet18").build(1000)
    torch.save(network.state_dict(), file)
    assert part.weights_file() == file
    assert load(file, part.build(1000)).loaded == len(network.state_dict())


def test_a_download_that_fails_is_one_line(caches: Path) -> None:
    with pytest.raises(RunError, match=r"can't be downloaded .* copy the file to it") as refused:
        TimmModel("test_vit", pretrained=True, download=True).weights_file()
    assert "\n" not in str(refused.value)


def test_a_network_without_published_weights_says_so() -> None:
    name = next(name for name in timm.list_models() if not timm.models.is_model_pretrained(name))
    with pytest.raises(RunError, match=r"has no published weights"):
        TimmModel(name, pretrained=True).weights_file()
