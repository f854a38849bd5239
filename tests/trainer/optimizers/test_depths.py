"""Depth of parameters, by their names and by a network's own word."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from trainer.models.resnet import ResNet8
from trainer.models.torchvision import TorchvisionModel
from trainer.optimizers.depths import by_block, depths_of


def layers(depths: Mapping[str, int]) -> list[set[str]]:
    """Return the modules of each depth, by what stands before a parameter's own name."""
    found: list[set[str]] = [set() for _ in range(max(depths.values()) + 1)]
    for name, depth in depths.items():
        found[depth].add(name.rpartition(".")[0])
    return found


def test_a_resnets_blocks_are_its_layers() -> None:
    net = ResNet8(width=4).build(10)
    found = layers(depths_of(net, "encoder."))
    assert [{name.split(".")[1] for name in modules} for modules in found] == [
        {"stem"},
        {"blocks"},
        {"blocks"},
        {"blocks"},
        {"head"},
    ]
    assert all(name.startswith(f"encoder.blocks.{i}") for i in range(3) for name in found[i + 1])
    assert depths_of(net).keys() == dict(net.named_parameters()).keys()


@pytest.mark.parametrize(
    ("arch", "blocks", "of"),
    [
        ("resnet18", 10, {"layer1.0.conv1.weight": 1, "layer4.1.bn2.bias": 8, "bn1.weight": 0, "fc.bias": 9}),
        # Tokens and patches, twelve blocks with the norm behind them, the classifier.
        ("vit_b_16", 14, {"conv_proj.weight": 0, "encoder.ln.weight": 12, "heads.head.weight": 13}),
        ("vgg11_bn", 11, {"features.0.weight": 0, "features.1.weight": 0, "classifier.6.weight": 10}),
    ],
)
def test_other_networks_have_layers_by_their_names(arch: str, blocks: int, of: dict[str, int]) -> None:
    with torch.device("meta"):
        net = TorchvisionModel(arch=arch).build(10)
    found = depths_of(net)
    assert max(found.values()) == blocks - 1
    assert {name: found[name] for name in of} == of
    assert list(found.values()) == sorted(found.values())


def test_timms_networks_have_the_layers_of_their_own_matcher() -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        net = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=10)
    found = depths_of(net, "encoder.")
    assert found.keys() == {f"encoder.{name}" for name, _ in net.named_parameters()}
    stem = {found[f"encoder.{name}"] for name in ("cls_token", "pos_embed", "patch_embed.proj.weight")}
    assert stem == {0}
    assert [found[f"encoder.blocks.{i}.attn.qkv.weight"] for i in range(12)] == list(range(1, 13))
    assert found["encoder.head.bias"] == 13


def test_names_without_numbers_are_modules() -> None:
    one = nn.Parameter(torch.zeros(2, 2))
    names = ("token", "first.weight", "first.weight2", "inner.part.weight", "inner.other.weight")
    assert list(by_block([(name, one) for name in names]).values()) == [0, 1, 1, 2, 3]


def test_leading_vectors_are_in_the_first_layer() -> None:
    vector, matrix = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2, 2))
    found = by_block([("scale", vector), ("shift.weight", vector), ("head.weight", matrix)])
    assert found == {"scale": 0, "shift.weight": 0, "head.weight": 0}
