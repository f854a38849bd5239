"""The ResNets against torchvision's, whose blocks they share, and against counts by hand."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from trainer.errors import RunError
from trainer.inference.scorer import Scorer
from trainer.models import ResNet8, ResNet18, ResNet34, ResNet50, TorchvisionModel, check_encoder, parameters


def with_our_stem(reference: nn.Module) -> nn.Module:
    reference.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    reference.maxpool = nn.Identity()
    return reference


@pytest.mark.parametrize(
    ("part", "reference"),
    [(ResNet18(), models.resnet18), (ResNet34(), models.resnet34), (ResNet50(), models.resnet50)],
)
def test_equals_torchvision_with_another_stem(part: Any, reference: Any) -> None:
    """Both list their weights in the same order, so that ours can be poured into theirs."""
    torch.manual_seed(0)
    ours, theirs = part.build(10).eval(), with_our_stem(reference(num_classes=10)).eval()
    weights = ours.state_dict()
    assert len(weights) == len(theirs.state_dict())
    theirs.load_state_dict(dict(zip(theirs.state_dict(), weights.values(), strict=True)))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize(
    ("part", "count"), [(ResNet18(), 11_173_962), (ResNet34(), 21_282_122), (ResNet50(), 23_520_842)]
)
def test_known_sizes_for_ten_classes(part: Any, count: int) -> None:
    with torch.device("meta"):
        assert parameters(part.build(10)) == count


@pytest.mark.parametrize("width", [1, 8, 16])
def test_resnet8_size_by_hand(width: int) -> None:
    w, classes = width, 10
    norm = 2
    stem = 27 * w + norm * w
    first = 2 * (9 * w * w + norm * w)
    second = 18 * w * w + 36 * w * w + 2 * w * w + 3 * norm * 2 * w
    third = 72 * w * w + 144 * w * w + 8 * w * w + 3 * norm * 4 * w
    head = 4 * w * classes + classes
    assert parameters(ResNet8(width).build(classes)) == stem + first + second + third + head


@pytest.mark.parametrize(
    ("part", "stages", "channels"),
    [(ResNet8(), 3, 64), (ResNet18(), 4, 512), (ResNet50(), 4, 2048), (ResNet18(width=16), 4, 128)],
)
def test_features_and_planes(part: Any, stages: int, channels: int) -> None:
    with torch.device("meta"):
        model = part.build(10)
        images = torch.empty(2, 3, 32, 32)
        assert model.stem(images).shape[2:] == (32, 32)
        assert model.blocks(model.stem(images)).shape == (
            2,
            channels,
            32 // 2 ** (stages - 1),
            32 // 2 ** (stages - 1),
        )
        assert model.forward_head(model.forward_features(images), pre_logits=True).shape == (2, channels)


def test_convolutions_start_from_fan_out_normal() -> None:
    torch.manual_seed(0)
    for module in ResNet18().build(10).modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            std, n = math.sqrt(2 / fan_out), module.weight.numel()
            assert abs(module.weight.std().item() / std - 1) < 5 / math.sqrt(2 * n)
            assert abs(module.weight.mean().item()) < 5 * std / math.sqrt(n)
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


@pytest.mark.parametrize("part", [ResNet8, ResNet18, ResNet34, ResNet50])
def test_refuses_a_width_below_one(part: Any) -> None:
    with pytest.raises(RunError, match="width must be at least 1 channel; got 0"):
        part(width=0)


@pytest.mark.parametrize("part", [ResNet8, ResNet18, ResNet34, ResNet50])
def test_refuses_a_width_that_no_memory_could_hold(part: Any) -> None:
    with pytest.raises(RunError, match="width must be at most 4096 channels; got 1000000000: 64 are usual"):
        part(width=1_000_000_000)


@pytest.mark.parametrize("arch", ["googlenet", "regnet_x_400mf", "vit_b_32", "mobilenet_v3_small"])
def test_torchvision_models_give_plain_logits(arch: str) -> None:
    with torch.device("meta"):
        model = TorchvisionModel(arch).build(5)
        assert model(torch.empty(2, 3, 224, 224)).shape == (2, 5)


@pytest.mark.parametrize(
    ("arch", "read"),
    [
        ("alexnet", 4096),
        ("vgg11_bn", 4096),
        ("densenet121", 1024),
        ("googlenet", 1024),
        ("inception_v3", 2048),
        ("mobilenet_v2", 1280),
        ("mobilenet_v3_small", 1024),
        ("mnasnet0_5", 1280),
        ("shufflenet_v2_x0_5", 1024),
        ("efficientnet_b0", 1280),
        ("regnet_x_400mf", 400),
        ("convnext_tiny", 768),
        ("swin_t", 768),
        ("vit_b_32", 768),
        ("maxvit_t", 512),
    ],
)
def test_torchvision_models_are_encoders_under_their_own_names(arch: str, read: int) -> None:
    side = 299 if arch == "inception_v3" else 224
    with torch.device("meta"):
        encoder = check_encoder(TorchvisionModel(arch).build(5))
        images = torch.empty(2, 3, side, side)
        features = encoder.forward_features(images)
        assert encoder.forward_head(features, pre_logits=True).shape == (2, encoder.num_features) == (2, read)
        assert encoder.forward_head(features).shape == encoder(images).shape == (2, 5)  # type: ignore[operator]
    options = {"aux_logits": False, "init_weights": False} if arch in ("googlenet", "inception_v3") else {}
    theirs = models.get_model(arch, num_classes=5, **options)
    assert isinstance(encoder, type(theirs))
    assert encoder.state_dict().keys() == theirs.state_dict().keys()
    assert copy.deepcopy(encoder).state_dict().keys() == theirs.state_dict().keys()


def test_a_network_without_verbs_is_trained_but_gives_no_features() -> None:
    with torch.device("meta"):
        network = TorchvisionModel("squeezenet1_1").build(5)
        assert network(torch.empty(2, 3, 64, 64)).shape == (2, 5)
    with pytest.raises(
        RunError, match=r"features are those of a network with forward_features, .* SqueezeNet"
    ):
        check_encoder(network)
    with pytest.raises(RunError, match="SqueezeNet"):
        Scorer(network, "eval", bf16=False, keeps_features=True)


def test_image_size_makes_a_transformer_for_small_images() -> None:
    with torch.device("meta"):
        model = TorchvisionModel("vit_b_16", image_size=32).build(5)
        assert model(torch.empty(2, 3, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "resnet19"}, "got 'resnet19': did you mean .*resnet18"),
        ({"arch": "qqqq"}, "got 'qqqq': choose among alexnet, "),
        ({"arch": "fcn_resnet50"}, "one of torchvision's classifiers"),
        ({"arch": "resnet18", "image_size": 32}, "got 32 for resnet18: leave it out"),
        ({"arch": "vit_b_16", "image_size": 0}, "image_size must be at least 1 px; got 0"),
    ],
)
def test_torchvision_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message) as error:
        TorchvisionModel(**options)
    assert "\n" not in str(error.value)


def test_an_unsuitable_image_size_is_one_line() -> None:
    with pytest.raises(RunError, match="image_size must suit vit_b_16; got 30: ") as error:
        TorchvisionModel("vit_b_16", image_size=30).build(5)
    assert "\n" not in str(error.value)
