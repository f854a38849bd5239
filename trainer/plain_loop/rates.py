"""Learning rates of a plain loop's optimizer, scaled by the order's factor within each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer


class ScaledRates:
    """Multiplies an optimizer's learning rates before each of its steps, and restores them after it.

    So any schedule sees the rates that it set itself.

    Parameters
    ----------
    optimizer
        The loop's.
    scale
        Returns the factor of the step.
    """

    def __init__(self, optimizer: Optimizer, scale: Callable[[], float]) -> None:
        self._scale = scale
        self._rates: list[Any] = []
        optimizer.register_step_pre_hook(self._before)
        optimizer.register_step_post_hook(self._after)

    def _before(self, optimizer: Optimizer, *_: Any) -> None:
        scale = self._scale()
        self._rates = [group["lr"] for group in optimizer.param_groups]
        if scale != 1:
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * scale

    def _after(self, optimizer: Optimizer, *_: Any) -> None:
        for group, rate in zip(optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate
