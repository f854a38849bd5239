"""FLOPs of forward passes and of whole steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from classifiers import CLASSIFIERS
from torch import nn

from pipeline import Batch
from trainer.account import Account
from trainer.budget.costs import Costs
from trainer.budget.flops import forward_flops, meta_batch, step_flops
from trainer.methods import METHODS, Losses, Method
from trainer.models import MODELS


def encoder(name: str = "resnet8", **options: Any) -> nn.Module:
    with torch.device("meta"):
        return MODELS[name](**options).build(classes=10)


def test_flops_are_those_of_the_layers() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 64, 5))
    assert forward_flops(model, 8) == 2 * (8 * 8 * 8 * 27) + 2 * 5 * 512
    assert model.training
    # 0.56 billion multiplications and additions: the CIFAR ResNet-18 of the literature.
    assert forward_flops(encoder("resnet18"), 32) / 2 == pytest.approx(0.555e9, rel=0.01)


@pytest.mark.parametrize("method", CLASSIFIERS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet8", {}),
        ("resnet50", {"width": 16}),
        ("torchvision", {"arch": "vit_b_32", "image_size": 32}),
        ("torchvision", {"arch": "densenet121"}),
    ],
)
def test_a_classifiers_step_is_exactly_three_forward_passes(
    method: str, name: str, options: dict[str, Any]
) -> None:
    made = METHODS[method]().build(encoder(name, **options))
    assert step_flops(made, meta_batch(6, 1, 32)) == 6 * 3 * forward_flops(made.encoder, 32)
    assert all(parameter.grad is None for parameter in made.parameters())


class Frozen(Method):
    """Trains its encoder's classifier, and has it follow a teacher that sees the images once."""

    def __init__(self, network: nn.Module, teacher: nn.Module) -> None:
        super().__init__(network.requires_grad_(False))
        network.get_classifier().requires_grad_(True)  # type: ignore[operator]
        self.teacher = teacher

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        with torch.no_grad():
            targets = self.teacher(batch.images)
        return Losses((self.encoder(batch.images) - targets).square().sum(dim=1, keepdim=True))


def test_what_no_gradient_flows_through_counts_once() -> None:
    network = encoder("resnet8")
    method = Frozen(network, encoder("resnet18"))
    classifier = 2 * 64 * 10
    expected = forward_flops(network, 32) + 2 * classifier + forward_flops(method.teacher, 32)
    assert step_flops(method, meta_batch(4, 1, 32)) == 4 * expected


def test_an_account_counts_steps_by_their_own_flops() -> None:
    # A teacher beside the network: four forward passes per sample.
    account = Account(1000, 1000, 10, "compute", Costs({32: 1.0}, step_passes=4.0, forward_flops=100))
    account.charge("trained", 50, 32)
    account.charge("gradient", 4, 32)
    account.charge("scored", 8, 32)
    assert account.compute == 50 + 4 * 3 / 4 + 8 / 4
    assert account.forward_passes == 4 * 50 + 4 * 3 + 8
    assert account.pass_cost("gradient", 4, 32) == 3
    assert account.summary()["flops"] == 100 * 220
    assert account.summary()["step_flops"] == 400


@pytest.mark.parametrize("gradients", [0, 3])
def test_an_account_of_supervised_steps_is_what_it_always_was(gradients: int) -> None:
    costs = {32: 1.0, 16: 0.2534, 24: 0.571}
    account = Account(1000, 1000, 10, "compute", Costs(costs, charged=7, forward_flops=25_003_264))
    for count, pixels in ((130, 16), (70, 24), (33, 32)):
        account.charge("trained", count, pixels)
        account.charge("scored", 2 * count, pixels)
    account.charge("gradient", gradients, 32)
    trained = 130 * costs[16] + 70 * costs[24] + 33 * costs[32]
    scored = 260 * costs[16] + 140 * costs[24] + 66 * costs[32]
    assert account.forward_passes == 3 * (7 + trained + gradients) + scored
    thirds = 260 * (costs[16] / 3) + 140 * (costs[24] / 3) + 66 * (costs[32] / 3)
    assert account.compute == 7 + trained + gradients + thirds
