"""The ResNets against torchvision's, whose blocks they share, and against counts by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from trainer.errors import RunError
from trainer.models import ResNet8, ResNet18, ResNet34, ResNet50, parameters


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
