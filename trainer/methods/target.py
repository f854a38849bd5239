"""Target networks: moving averages of trained modules, which are run and not trained."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from trainer.errors import RunError


class Target(nn.Module):
    """An exponential moving average of the weights of modules that are trained, in their architecture.

    It begins as a copy, requires no gradient, and stays in the mode of its method: batch normalization has
    statistics of its own.

    Parameters
    ----------
    encoder, projector
        The modules that are followed, whose parameters stay the same ones.
    """

    def __init__(self, encoder: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.projector = copy.deepcopy(projector)
        self.requires_grad_(False)
        self._followed = (encoder, projector)
        self._pairs: tuple[list[Tensor], list[Tensor]] = [], []

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Set weights to momentum x own + (1 - momentum) x those that are followed."""
        ours, theirs = self._pairs
        if not ours:
            # Made once the method is on its device.
            ours += [p for module in (self.encoder, self.projector) for p in module.parameters()]
            theirs += [p for module in self._followed for p in module.parameters()]
        torch._foreach_lerp_(ours, theirs, 1 - momentum)


def cosine_momentum(base: float, progress: float) -> float:
    """Return the momentum at ``progress`` in [0, 1], from ``base`` to 1 by half a cosine.

    tau = 1 - (1 - base) (cos(pi t / L) + 1) / 2 (Grill et al. 2020, section 3.2).
    """
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2


def check_momentum(name: str, value: float) -> None:
    """Refuse a momentum outside of [0, 1], as a RunError."""
    if not 0 <= value <= 1:
        raise RunError(f"method.{name} must be from 0 to 1; got {value:g}")


def check_temperature(name: str, value: float) -> None:
    """Refuse a temperature that is not above 0 and finite, as a RunError."""
    if not 0 < value < math.inf:
        raise RunError(f"method.{name} must be above 0 and finite; got {value:g}")
