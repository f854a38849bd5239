"""Frozen weights keep their values, frozen normalization its statistics, and both leave what a step costs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from pipeline.targets import TargetSpec
from trainer.budget.flops import flops_by_pixels
from trainer.config import Run
from trainer.errors import RunError
from trainer.inference.scorer import Folding
from trainer.models import ResNet8, TorchvisionModel
from trainer.pretrained.freezing import BACKBONE, FrozenBatchNorm2d, freeze
from trainer.session import Session

Recipe = Callable[..., Run]
Train = Callable[..., Session]


def network() -> nn.Module:
    return ResNet8(width=4).build(3)


def trained(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def test_a_prefix_ends_at_a_dot() -> None:
    net = nn.Sequential()
    for name in ("layer1", "layer10", "token"):
        net.add_module(name, nn.Linear(2, 2))
    net.register_parameter("layer", nn.Parameter(torch.zeros(1)))
    assert trained(freeze(net, ["layer1", "layer"])) == {
        f"{n}.{w}" for n in ("layer10", "token") for w in ("weight", "bias")
    }


def test_the_backbone_is_all_but_the_classifier() -> None:
    assert trained(freeze(network(), [BACKBONE])) == {"head.weight", "head.bias"}
    with torch.device("meta"):
        net = freeze(TorchvisionModel("mobilenet_v3_small").build(3), [BACKBONE])
    assert trained(net) == {"classifier.3.weight", "classifier.3.bias"}


def test_frozen_normalization_keeps_its_statistics_in_training() -> None:
    net = freeze(network(), ["stem", "blocks.0"]).train()
    before = copy.deepcopy(net.state_dict())
    net(torch.randn(8, 3, 16, 16)).sum().backward()
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert not any(name.startswith(("stem", "blocks.0")) for name in changed)
    assert isinstance(copy.deepcopy(net).train().stem[1], FrozenBatchNorm2d)  # type: ignore[index]
    assert [m.training for m in net.modules() if isinstance(m, nn.BatchNorm2d)].count(False) == 3


def test_frozen_convolutions_are_folded_when_they_score() -> None:
    assert len(Folding(freeze(network(), [BACKBONE]).eval())) == len(Folding(network().eval()))


@pytest.mark.parametrize("name", ["blocks.7", "nowhere", "sta"])
def test_a_part_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(RunError, match=f"got '{name}', and ResNet has .*(stem|blocks.0)") as refused:
        freeze(network(), [name])
    assert "\n" not in str(refused.value)


def test_steps_of_a_frozen_backbone_are_forward_passes(recipe: Recipe) -> None:
    """Of all but the classifier, whose forward and backward passes are 2 * 64 * 10 FLOPs three times."""
    run = recipe(model="resnet8", freeze=["backbone"])
    spec = TargetSpec("class", tuple("abcdefghij"))
    frozen = flops_by_pixels(run, spec, 28, 64)
    whole = flops_by_pixels(replace(run, freeze=()), spec, 28, 64)
    assert frozen.forward == whole.forward
    head = 2 * 64 * 10
    assert frozen.step[28] == whole.forward[28] + 2 * head
    assert whole.step[28] == 3 * whole.forward[28]


def test_a_run_leaves_frozen_weights_as_they_were_and_out_of_the_optimizer(
    recipe: Recipe, train_run: Train
) -> None:
    small = {"model": {"name": "resnet8", "width": 4}, "epochs": 1, "freeze": ["stem", "blocks.0"]}
    session = train_run(recipe(**small))
    torch.manual_seed(session.run.seed)
    fresh = ResNet8(width=4).build(10).state_dict()
    for name, value in session.encoder.state_dict().items():
        kept = name.startswith(("stem.", "blocks.0."))
        assert torch.equal(value, fresh[name].to(value.dtype)) == kept or "num_batches" in name, name
    optimized = sum(p.numel() for group in session.step.optimizer.param_groups for p in group["params"])
    assert optimized == sum(p.numel() for p in session.method.parameters() if p.requires_grad)
