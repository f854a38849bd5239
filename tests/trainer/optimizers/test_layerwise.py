"""LARS and LAMB against slow references that follow their papers, in double precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from trainer.errors import RunError
from trainer.optimizers.lamb import LAMB
from trainer.optimizers.lars import LARS
from trainer.optimizers.protocol import Decay, OptimizerConfig

RATES = (0.1, 0.05, 0.2)
Reference = Callable[[Tensor, Sequence[Tensor], Sequence[float], float, bool], Tensor]


def lars(
    start: Tensor, gradients: Sequence[Tensor], rates: Sequence[float], decay: float, own: bool
) -> Tensor:
    """You et al. (2017), algorithm 1, with the rate outside of the velocity."""
    w, v = start.clone(), torch.zeros_like(start)
    for lr, g in zip(rates, gradients, strict=True):
        length, slope = float(w.norm()), float(g.norm())
        local = 0.02 * length / (slope + decay * length) if own and length > 0 and slope > 0 else 1.0
        v = 0.8 * v + local * (g + decay * w)
        w = w - lr * v
    return w


def lamb(
    start: Tensor, gradients: Sequence[Tensor], rates: Sequence[float], decay: float, own: bool
) -> Tensor:
    """You et al. (2020), algorithm 2, with phi(z) = z."""
    w, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for t, (lr, g) in enumerate(zip(rates, gradients, strict=True), 1):
        m = 0.8 * m + 0.2 * g
        v = 0.95 * v + 0.05 * g * g
        update = (m / (1 - 0.8**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-6) + decay * w
        length, size = float(w.norm()), float(update.norm())
        w = w - lr * (length / size if own and length > 0 and size > 0 else 1.0) * update
    return w


PARTS: dict[str, tuple[Callable[..., OptimizerConfig], Reference]] = {
    "lars": (lambda **options: LARS(lr=0.1, momentum=0.8, trust=0.02, **options), lars),
    "lamb": (lambda **options: LAMB(lr=0.1, betas=(0.8, 0.95), **options), lamb),
}


def run(part: OptimizerConfig, net: nn.Module, rates: Sequence[float]) -> dict[str, list[Tensor]]:
    """Make steps by gradients that are drawn, of one parameter all 0, and return them by parameter."""
    optimizer = part.build(tuple(net.named_parameters()))
    made: dict[str, list[Tensor]] = {name: [] for name, _ in net.named_parameters()}
    for lr in rates:
        for name, parameter in net.named_parameters():
            parameter.grad = torch.randn(parameter.shape, dtype=torch.float64)
            if name == "2.weight":
                parameter.grad.zero_()
            made[name].append(parameter.grad.clone())
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
    return made


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("decay", ["weights", "all"])
def test_steps_are_those_of_the_paper(name: str, decay: Decay) -> None:
    make, reference = PARTS[name]
    # The third layer's gradient is always 0, and the norm's bias begins at 0.
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)).double()
    start = {key: value.detach().clone() for key, value in net.named_parameters()}
    made = run(make(weight_decay=0.1, decay=decay), net, RATES)
    for key, parameter in net.named_parameters():
        own = decay == "all" or key in ("0.weight", "2.weight")
        expected = reference(start[key], made[key], RATES, 0.1 if own else 0.0, own)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-12, atol=1e-12)


def test_lars_of_a_constant_rate_is_the_papers_with_the_rate_in_its_velocity() -> None:
    net = nn.Linear(3, 4, bias=False).double()
    w, v = net.weight.detach().clone(), torch.zeros(4, 3, dtype=torch.float64)
    for g in run(LARS(lr=0.3, trust=0.02, weight_decay=0.1), net, (0.3,) * 5)["weight"]:
        local = 0.02 * w.norm() / (g.norm() + 0.1 * w.norm())
        v = 0.9 * v + 0.3 * local * (g + 0.1 * w)
        w = w - v
    torch.testing.assert_close(net.weight.detach(), w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", PARTS)
def test_the_scale_of_a_gradient_does_not_matter(name: str) -> None:
    make, reference = PARTS[name]
    start = torch.randn(5, 3, dtype=torch.float64)
    gradients = [torch.randn(5, 3, dtype=torch.float64) for _ in RATES]
    ends = [reference(start, [g * scale for g in gradients], RATES, 0.0, True) for scale in (1.0, 100.0)]
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-5)
    net = nn.Linear(3, 5, bias=False).double()
    optimizer = make(weight_decay=0.0).build(tuple(net.named_parameters()))
    with torch.no_grad():
        net.weight.copy_(start)
    for lr, gradient in zip(RATES, gradients, strict=True):
        net.weight.grad = 100.0 * gradient
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    torch.testing.assert_close(net.weight.detach(), ends[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("trust", [0.0, -1.0, float("inf"), float("nan")])
def test_lars_refuses_a_trust_out_of_range(trust: float) -> None:
    with pytest.raises(RunError, match=r"^optimizer.trust must be above 0 and finite; got "):
        LARS(trust=trust)
