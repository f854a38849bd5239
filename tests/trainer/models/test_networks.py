"""The papers' networks: sizes as published, features, and the transformer's positions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from trainer.budget.flops import forward_flops
from trainer.errors import RunError
from trainer.models import (
    GoogLeNet,
    LeNet,
    ModelConfig,
    PyramidNet110,
    PyramidNet164,
    ResNet101,
    ResNet152,
    TorchvisionModel,
    ViTS16,
    check_encoder,
    parameters,
)
from trainer.models.vit import Coordinates, sincos_table

DEIT_S, TOKEN, POSITIONS, REPRESENTATION = 22_050_664, 384, 197 * 384, 384 * 385
"""Weights of DeiT-S/16 (timm's deit_small_patch16_224), what ours lacks of them, and what it has beside."""


@pytest.mark.parametrize(
    ("part", "classes", "count"),
    [
        # LeNet-5 in PyTorch's tutorial on CIFAR-10; the ResNets and GoogLeNet of kuangliu/pytorch-cifar.
        (LeNet(), 10, 62_006),
        (GoogLeNet(), 10, 6_166_250),
        (ResNet101(), 10, 42_512_970),
        (ResNet152(), 10, 58_156_618),
        # osmr/imgclsmob's pyramidnet*_cifar10; Han et al. (2017), table 4, have 1.7, 3.8, 28.3 and 27.0 M.
        (PyramidNet110(alpha=48), 10, 1_772_706),
        (PyramidNet110(alpha=84), 10, 3_904_446),
        (PyramidNet110(alpha=270), 10, 28_485_477),
        (PyramidNet164(alpha=270), 10, 27_216_021),
        # torchvision's documentation of its weights.
        (TorchvisionModel("densenet161"), 1000, 28_681_000),
        (TorchvisionModel("regnet_x_3_2gf"), 1000, 15_296_552),
        (TorchvisionModel("resnet152"), 1000, 60_192_808),
        (ViTS16(), 1000, DEIT_S - TOKEN - POSITIONS + REPRESENTATION),
    ],
    ids=str,
)
def test_sizes_are_the_published_ones(part: ModelConfig, classes: int, count: int) -> None:
    with torch.device("meta"):
        assert parameters(part.build(classes)) == count


@pytest.mark.parametrize(
    ("part", "pixels", "features", "shape"),
    [
        (LeNet(), 32, 84, (16, 5, 5)),
        (LeNet(), 64, 84, (16, 5, 5)),
        (GoogLeNet(), 32, 1024, (1024, 8, 8)),
        (ResNet101(), 32, 2048, (2048, 4, 4)),
        # Han et al. (2017), table 4: the dimension of the output features.
        (PyramidNet110(alpha=48), 32, 64, (64, 8, 8)),
        (PyramidNet110(alpha=270), 32, 286, (286, 8, 8)),
        (PyramidNet164(alpha=270), 28, 1144, (1144, 7, 7)),
        (TorchvisionModel("densenet161"), 224, 2208, (2208,)),
        (TorchvisionModel("regnet_x_3_2gf"), 224, 1008, (1008,)),
        (ViTS16(), 224, 384, (196, 384)),
        (ViTS16(), 96, 384, (36, 384)),
    ],
    ids=str,
)
def test_features_on_the_meta_device(
    part: ModelConfig, pixels: int, features: int, shape: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        encoder = check_encoder(part.build(10))
        maps = encoder.forward_features(torch.empty(2, 3, pixels, pixels))
        assert maps.shape == (2, *shape)
        assert encoder.num_features == features
        assert encoder.forward_head(maps, pre_logits=True).shape == (2, features)
        assert encoder.forward_head(maps).shape == (2, 10)


def test_flops_of_the_transformer_are_the_published_ones() -> None:
    """DeiT-S/16 has 4.6 billion multiply-adds at 224 px (Touvron et al. 2021)."""
    with torch.device("meta"):
        assert round(forward_flops(ViTS16().build(1000), 224) / 2e9, 1) == 4.6


def test_channels_grow_by_as_much_in_every_block() -> None:
    """Han et al. (2017), eq. 3; the round of a half is the even number."""
    with torch.device("meta"):
        network = PyramidNet110(alpha=84).build(10)
    made = [block.channels for block in network.blocks]
    assert made == [round(16 + 84 * k / 54) for k in range(1, 55)]
    assert made[-1] == 100


def test_a_pyramids_new_channels_are_the_residual_alone() -> None:
    block = PyramidNet110().build(10).blocks[0].eval()
    x = torch.randn(2, 16, 6, 6)
    with torch.no_grad():
        y, residual = block(x), block.layers(x)  # type: ignore[operator]
    assert y.shape[1] > 16
    torch.testing.assert_close(y[:, :16], x + residual[:, :16])
    assert torch.equal(y[:, 16:], residual[:, 16:])


@pytest.mark.parametrize("coordinates", ["rescaled", "integer"])
def test_positions_by_hand(coordinates: Coordinates) -> None:
    """[sin(w o), cos(w o), sin(h o), cos(h o)], at row 2, column 3 of a 6 x 7 grid."""
    table = sincos_table(6, 7, 16, coordinates)
    assert table.shape == (42, 16)
    w, h = (3.0, 2.0) if coordinates == "integer" else (3 * 14 / 7, 2 * 14 / 6)
    omega = [10_000 ** (-k / 4) for k in range(4)]
    expected = [f(axis * o) for axis in (w, h) for f in (math.sin, math.cos) for o in omega]
    torch.testing.assert_close(table[2 * 7 + 3], torch.tensor(expected))


def test_a_rescaled_place_has_one_code_at_every_resolution() -> None:
    small, large = sincos_table(7, 7, 384, "rescaled"), sincos_table(14, 14, 384, "rescaled")
    at_half = large.reshape(14, 14, 384)[::2, ::2].reshape(49, 384)
    torch.testing.assert_close(small, at_half)
    assert torch.equal(large, sincos_table(14, 14, 384, "integer"))


def test_the_transformer_starts_from_a_head_of_zeros() -> None:
    network = ViTS16().build(5)
    assert not network.head.weight.any()  # type: ignore[operator]
    for module in network.blocks.modules():
        if isinstance(module, nn.Linear):
            bound = math.sqrt(6 / sum(module.weight.shape))
            assert module.weight.abs().max() <= bound
            assert not module.bias.any()


@pytest.mark.parametrize(("height", "width"), [(100, 96), (224, 230)])
def test_the_transformer_refuses_sizes_that_its_patches_do_not_divide(height: int, width: int) -> None:
    with torch.device("meta"), pytest.raises(RunError, match=f"16 divides; got {height}x{width}") as error:
        ViTS16().build(5)(torch.empty(1, 3, height, width))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("alpha", [0, -1, 100_000])
def test_alpha_is_checked(alpha: int) -> None:
    with pytest.raises(RunError, match=f"alpha must be at least 1 and at most 4,096 channels; got {alpha}"):
        PyramidNet164(alpha)
