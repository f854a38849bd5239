"""A further network that is trained beside a run's own, as its method, optimizer and schedule train that."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from trainer.methods import Losses
from trainer.models import ModelConfig
from trainer.schedules import Schedule
from trainer.step import set_rates

MakeFurther = Callable[[ModelConfig], "FurtherNetwork"]
"""Makes a network by its config, on the run's device, with initial weights."""


class FurtherNetwork:
    """A network and its optimizer, which take plain steps: no clipping, accumulation or average of weights.

    Parameters
    ----------
    network
        In training mode, on the device, from images to outputs.
    module
        The same as steps call it: wrapped for data parallelism.
    losses
        Losses of outputs [n, classes] against labels int64[n, 1]: `Method.losses` of the run's method.
    optimizer
        Of the network's parameters.
    schedule
        Of its learning rate, and of its momentum.
    momentum_key
        See `OptimizerConfig.momentum_key`.
    precision
        Context of the forward pass.
    """

    def __init__(
        self,
        network: nn.Module,
        module: nn.Module,
        losses: Callable[[Tensor, Tensor], Losses],
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        momentum_key: str | None,
        precision: AbstractContextManager[object],
    ) -> None:
        self.network = network
        self._module = module
        self._losses = losses
        self._optimizer = optimizer
        self._schedule = schedule
        self._momentum_key = momentum_key
        self._precision = precision

    def backward(self, images: Tensor, labels: Tensor) -> None:
        """Make the gradients of a batch's mean loss, without an update.

        Parameters
        ----------
        images
            float[n, C, H, W], augmented; at least 2.
        labels
            int64[n]
        """
        self._optimizer.zero_grad(set_to_none=True)
        with self._precision:
            losses = self._losses(self._module(images), labels[:, None])
        losses.loss.mean().backward()  # type: ignore[no-untyped-call]

    def train(self, images: Tensor, labels: Tensor, progress: float) -> None:
        """Make a step at ``progress`` in [0, 1] of the budget; see `backward` for the batch."""
        self.backward(images, labels)
        set_rates(self._optimizer, self._schedule, progress, 1.0, self._momentum_key)
        self._optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the weights and of the optimizer's state."""
        return copy.deepcopy(
            {"network": self.network.state_dict(), "optimizer": self._optimizer.state_dict()}
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self._optimizer.zero_grad(set_to_none=True)
