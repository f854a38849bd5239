"""Backward passes and updates that are more than plain ones: recomputed, clipped, averaged."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.updates.average import Average
from trainer.updates.recomputation import Recomputation


@dataclass(frozen=True, slots=True)
class Update:
    """From losses to gradients, and from gradients to weights: clip, step, average.

    Attributes
    ----------
    optimizer
        Steps once per call.
    clip_norm
        Largest norm of the gradient of all parameters together; None leaves it as it is.
    average
        Takes in the weights after the step; None where none is kept.
    recomputation
        Context of backward passes that recompute activations; None where all are kept.
    scaler
        Scales losses for gradients in half precision, and leaves out steps whose gradients overflow; None
        where precision needs none.
    """

    optimizer: torch.optim.Optimizer
    clip_norm: float | None = None
    average: Average | None = None
    recomputation: Recomputation | None = None
    scaler: torch.amp.GradScaler | None = None

    @property
    def plain(self) -> bool:
        """Whether it is the optimizer's step and no more."""
        return (self.clip_norm, self.average, self.recomputation, self.scaler) == (None,) * 4

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients to those in the parameters."""
        with nullcontext() if self.recomputation is None else self.recomputation():
            scaled = loss if self.scaler is None else self.scaler.scale(loss)
            scaled.backward()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        """Update the weights by the gradients in the parameters.

        Waits for the device only in half precision, and there not with optimizers that torch fuses.
        """
        if self.clip_norm is not None:
            weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(weights, self.clip_norm)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.average is not None:
            self.average.update()
