"""SGD against its equation, in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainer.errors import RunError
from trainer.models.resnet import ResNet8
from trainer.optimizers import SGD
from trainer.optimizers.protocol import Decay

RATES = (0.1, 0.05, 0.2)
MOMENTA = (0.9, 0.8, 0.95)


def by_equation(
    start: Tensor, gradients: list[Tensor], nesterov: bool, decay: float, momenta: tuple[float, ...]
) -> Tensor:
    """Weights after a step for each gradient: v = m v + g + d w, w -= lr v; or w -= lr (g + d w + m v)."""
    w, v = start.clone(), torch.zeros_like(start)
    for lr, m, gradient in zip(RATES, momenta, gradients, strict=True):
        pull = gradient + decay * w
        v = m * v + pull
        w = w - lr * (pull + m * v if nesterov else v)
    return w


@pytest.mark.parametrize("decay", ["weights", "all"])
@pytest.mark.parametrize(
    ("nesterov", "momenta"),
    [(False, MOMENTA), (True, MOMENTA), (False, (0.0, 0.0, 0.0))],
    ids=["momentum", "nesterov", "none"],
)
def test_steps_are_those_of_the_equation(decay: Decay, nesterov: bool, momenta: tuple[float, ...]) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)).double()
    part = SGD(RATES[0], momenta[0], nesterov, weight_decay=0.01, decay=decay)
    optimizer = part.build(tuple(net.named_parameters()))
    start = {name: value.detach().clone() for name, value in net.named_parameters()}
    made: dict[str, list[Tensor]] = {name: [] for name in start}
    generator = torch.Generator().manual_seed(0)
    for lr, momentum in zip(RATES, momenta, strict=True):
        for name, parameter in net.named_parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            made[name].append(parameter.grad.clone())
        for group in optimizer.param_groups:
            group["lr"], group["momentum"] = lr, momentum
        optimizer.step()
    for name, parameter in net.named_parameters():
        decayed = 0.01 if decay == "all" or name == "0.weight" else 0.0
        expected = by_equation(start[name], made[name], nesterov, decayed, momenta)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-13, atol=1e-13)


def test_all_is_one_group_in_the_networks_order() -> None:
    net = ResNet8(width=4).build(10)
    (group,) = SGD(decay="all").build(tuple(net.named_parameters())).param_groups
    assert list(map(id, group["params"])) == list(map(id, net.parameters()))
    assert group["weight_decay"] == 1e-4


def test_weights_leaves_out_a_resnets_norms_and_biases() -> None:
    net = ResNet8(width=4).build(10)
    decayed, spared = SGD().build(tuple(net.named_parameters())).param_groups
    modules = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert sorted(map(id, decayed["params"])) == sorted(id(module.weight) for module in modules)
    assert len(decayed["params"]) + len(spared["params"]) == len(list(net.parameters()))
    assert (decayed["weight_decay"], spared["weight_decay"]) == (1e-4, 0.0)


def test_norms_and_biases_have_a_rate_of_their_own() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    part = SGD(lr=0.2, norm_bias_lr=12.8, decay="all", decoupled=True, weight_decay=0.1)
    weights, vectors = part.build(tuple(net.named_parameters())).param_groups
    assert {id(value) for value in weights["params"]} == {id(net[0].weight), id(net[2].weight)}
    assert (weights["initial_lr"], weights["weight_decay"]) == (0.2, 0.1 / 0.2)
    assert (vectors["initial_lr"], vectors["weight_decay"]) == (12.8, 0.1 / 12.8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, "optimizer.momentum must be at least 0 and below 1; got 1"),
        ({"momentum": -0.1}, "optimizer.momentum must be at least 0 and below 1; got -0.1"),
        ({"momentum": float("nan")}, "optimizer.momentum must be at least 0 and below 1; got nan"),
        ({"norm_bias_lr": 0.0}, "optimizer.norm_bias_lr must be above 0 and finite; got 0"),
        (
            {"momentum": 0.0, "nesterov": True},
            "optimizer.nesterov needs a momentum above 0; got 0: raise --optimizer.momentum, or leave "
            "--optimizer.nesterov out",
        ),
    ],
)
def test_refuses_momenta_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(RunError, match=f"^{message}$"):
        SGD(**options)  # type: ignore[arg-type]
