"""One optimizer step: forward, losses, backward, update."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from pipeline import Batch, Mixture
from trainer.account import Ledger
from trainer.methods import Losses, Method
from trainer.schedules import Schedule
from trainer.selection import Weighting
from trainer.updates.accumulation import accumulate
from trainer.updates.annealing import early_factor
from trainer.updates.update import Update


@dataclass(frozen=True, slots=True)
class Step:
    """Objects and settings common to all steps of a run.

    Attributes
    ----------
    method
        The method, in training mode, on the device.
    module
        The method as the step calls it: wrapped for data parallelism, and compiled if requested.
    optimizer
        Its learning rate is set by the caller.
    precision
        Context of the forward pass, entered once per step: see `trainer.hardware.precision.autocast`.
    ledger
        Where the phases' times go.
    update
        Makes gradients and updates the weights in more than the plain way; None for that.
    micro_batches
        Parts that a batch goes forward and backward in.
    """

    method: Method
    module: nn.Module
    optimizer: torch.optim.Optimizer
    precision: AbstractContextManager[object]
    ledger: Ledger
    update: Update | None = None
    micro_batches: int = 1
    _follows: bool = field(init=False)

    def __post_init__(self) -> None:
        # Most methods have nothing that follows the weights.
        follows = type(self.method).after_step is not Method.after_step
        object.__setattr__(self, "_follows", follows)

    def __call__(
        self,
        batch: Batch,
        weighting: Weighting | None = None,
        streams: Mapping[str, Batch] | None = None,
        *,
        progress: float,
    ) -> Losses:
        """Train on an augmented batch; return the losses, detached, on the device.

        Parameters
        ----------
        weighting
            Multiplies the losses by factors computed from them.
        streams
            Batches of the method's further streams, by name.
        progress
            Fraction of the budget spent after the step.
        """
        losses = self.backward(batch, weighting, streams)
        with self.ledger.phase("optimize"):
            (self.update or self.optimizer).step()
            if self._follows:
                self.method.after_step(progress)
        return losses

    def backward(
        self,
        batch: Batch,
        weighting: Weighting | None = None,
        streams: Mapping[str, Batch] | None = None,
    ) -> Losses:
        """Make all of a step but the update: gradients stand in the parameters."""
        if self.micro_batches == 1:
            return self._backward(batch, weighting, streams)
        self.optimizer.zero_grad(set_to_none=True)
        return accumulate(
            lambda part, others: self._backward(part, weighting, others, self.micro_batches),
            self.module,
            self.micro_batches,
            batch,
            streams or {},
        )

    def _backward(
        self,
        batch: Batch,
        weighting: Weighting | None,
        streams: Mapping[str, Batch] | None,
        parts: int = 1,
    ) -> Losses:
        """Make a batch's gradients, or add those of one of several parts of equal size."""
        with self.ledger.phase("forward"):
            with self.precision:
                losses: Losses = self.module(batch, **(streams or {}))
            weights = None if batch.weights is None else batch.constituents(batch.weights)
            if weighting is not None:
                factors = weighting.weigh(losses, batch)[:, None]
                weights = factors if weights is None else weights * factors
            loss = mixed_loss(losses.loss, batch.mixture, weights)
        with self.ledger.phase("backward"):
            if parts == 1:
                self.optimizer.zero_grad(set_to_none=True)
            else:
                loss = loss / parts
            if self.update is not None:
                self.update.backward(loss)
            else:
                loss.backward()  # type: ignore[no-untyped-call]
        return replace(losses, loss=losses.loss.detach())


def set_rates(
    optimizer: torch.optim.Optimizer, schedule: Schedule, progress: float, scale: float, key: str | None
) -> None:
    """Set each group's learning rate, and its momentum if schedule and optimizer have one.

    Parameters
    ----------
    progress
        Progress of the schedule, in [0, 1].
    scale
        Further factor of all rates.
    key
        The groups' entry for a momentum of the schedule's own; None for none.
    """
    momentum = schedule.momentum(progress) if key is not None and schedule.moves_momentum else None
    factor = schedule.factor(progress)
    for group in optimizer.param_groups:
        until = group.get("until")
        own = factor if until is None else early_factor(schedule, progress, until)
        group["lr"] = group["initial_lr"] * own * scale
        if momentum is not None and key is not None:
            # For Adam, the first of the betas.
            group[key] = (momentum, *group[key][1:]) if isinstance(group[key], tuple) else momentum


def mixed_loss(loss: Tensor, mixture: Mixture | None, weights: Tensor | None) -> Tensor:
    """Return the mean over images of their constituents' losses, weighted by the mixture's coefficients.

    Parameters
    ----------
    loss
        float32[n, k], or [n, 1] if all constituents of an image have one loss.
    mixture
        Constituents of the images; None if k is 1.
    weights
        float32[n, k], or [n, 1] for whole images: loss multipliers of a sampler or selection, or None.
    """
    losses = loss if mixture is None else loss * mixture.device_coefficients
    return (losses if weights is None else losses * weights).sum(dim=1).mean()
