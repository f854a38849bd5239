"""Tensors that a step's forward passes leave for the moment after its update."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Pending:
    """Tensors of the forward passes since the last update, of one pass per micro-batch.

    Loading a state into its method drops them: passes before it, as in the warm-up, belong to no step.
    """

    def __init__(self, method: nn.Module) -> None:
        self._tensors: list[Tensor] = []
        method.register_load_state_dict_post_hook(self._drop)  # type: ignore[no-untyped-call]

    def add(self, tensor: Tensor) -> None:
        """Add what a forward pass leaves, without gradient."""
        self._tensors.append(tensor.detach())

    def taken(self) -> list[Tensor]:
        """Return all of them, and hold none."""
        taken, self._tensors = self._tensors, []
        return taken

    def _drop(self, module: nn.Module, keys: Any) -> None:
        self._tensors = []
