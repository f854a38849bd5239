"""Adam and AdamW against their equations, in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainer.errors import RunError
from trainer.optimizers.adam import Adam, AdamW

RATES = (0.1, 0.05, 0.2)


def by_equation(start: Tensor, gradients: list[Tensor], decay: float, apart: bool) -> Tensor:
    w, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for t, (lr, g) in enumerate(zip(RATES, gradients, strict=True), 1):
        if apart:
            w = (1 - lr * decay) * w
        else:
            g = g + decay * w
        m = 0.8 * m + 0.2 * g
        v = 0.95 * v + 0.05 * g * g
        w = w - lr * (m / (1 - 0.8**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-3)
    return w


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_steps_are_those_of_the_equation(kind: type[Adam | AdamW]) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)).double()
    part = kind(lr=RATES[0], betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1)
    optimizer = part.build(tuple(net.named_parameters()))
    start = {name: value.detach().clone() for name, value in net.named_parameters()}
    made: dict[str, list[Tensor]] = {name: [] for name in start}
    for lr in RATES:
        for name, parameter in net.named_parameters():
            parameter.grad = torch.randn(parameter.shape, dtype=torch.float64)
            made[name].append(parameter.grad.clone())
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
    for name, parameter in net.named_parameters():
        decay = 0.1 if name == "0.weight" else 0.0
        expected = by_equation(start[name], made[name], decay, kind is AdamW)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize(
    ("betas", "eps", "message"),
    [
        ((1.0, 0.9), 1e-8, "optimizer.betas must both be at least 0 and below 1; got 1 and 0.9"),
        ((0.9, -0.1), 1e-8, "optimizer.betas must both be at least 0 and below 1; got 0.9 and -0.1"),
        ((0.9, float("nan")), 1e-8, "optimizer.betas must both be at least 0 and below 1; got 0.9 and nan"),
        ((0.9, 0.9), 0.0, "optimizer.eps must be above 0 and finite; got 0"),
    ],
)
def test_refuses_averages_out_of_range(
    kind: type[Adam | AdamW], betas: tuple[float, float], eps: float, message: str
) -> None:
    with pytest.raises(RunError, match=f"^{message}$"):
        kind(betas=betas, eps=eps)
