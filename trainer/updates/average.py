"""Exponential moving average of a network's weights, which is evaluated and exported in its place."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """An average of a network's weights and statistics over its steps (Polyak and Juditsky 1992).

    After step t it is d a + (1 - d) w, with d the smaller of ``decay`` and 1 - t^(-2/3), so that it follows
    the first steps closely: timm's ModelEmaV3 with its warm-up (Wightman 2019). Whole numbers are copied.

    Parameters
    ----------
    encoder
        The network that is trained, whose tensors stay the same ones.
    decay
        In (0, 1).

    Attributes
    ----------
    network
        Holds the averaged weights; requires no gradient.
    """

    def __init__(self, encoder: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(encoder).requires_grad_(False)
        self._decay = decay
        self._steps = 0
        self._averages, self._counts = _tensors(self.network)
        self._values, self._counted = _tensors(encoder)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step, without waiting for the device."""
        self._steps += 1
        decay = min(self._decay, 1 - self._steps ** (-2 / 3))
        torch._foreach_lerp_(self._averages, self._values, 1 - decay)
        if self._counts:
            torch._foreach_copy_(self._counts, self._counted)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights, and how many steps they are of."""
        return {"network": self.network.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.network.load_state_dict(state["network"])
        self._steps = state["steps"]


def _tensors(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return a network's floating-point tensors and its others, each once."""
    every = [parameter.detach() for parameter in network.parameters()] + list(network.buffers())
    return [x for x in every if x.is_floating_point()], [x for x in every if not x.is_floating_point()]
