"""A loss function that applies a sampler's weights, and feeds each sample's loss back to it."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pipeline import Mixture
from trainer.errors import RunError
from trainer.methods import Losses
from trainer.methods.classification import class_statistics
from trainer.step import mixed_loss


class Recorder(Protocol):
    """The loader that yields the batches."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Statistics that the sampler uses."""

    @property
    def learns(self) -> bool:
        """Whether the next loss is one to record: of a batch to train on, or of requested scores."""

    def record(self, losses: Losses, mixture: Mixture | None) -> Tensor | None:
        """Keep the losses, float[n, k], of the batch under way; return its weights, float[n], if any."""


class BudgetedLoss(nn.Module):
    """A loss function by the mean over a batch, weighted as the sampler requires; made by a `BudgetedLoader`.

    Called with gradients enabled, it is the loss of the batch that the loader yielded last, once per batch.
    Under ``torch.no_grad``, as for validation, it is the loss function as it was.

    Parameters
    ----------
    criterion
        A loss with an option ``reduction`` (torch's modules and functions), or one that returns a loss per
        sample. A module is copied.
    recorder
        The loader.
    """

    def __init__(self, criterion: Callable[..., Tensor], recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder
        if isinstance(criterion, nn.Module):
            criterion = copy.deepcopy(criterion)
            if isinstance(getattr(criterion, "reduction", None), str):
                criterion.reduction = "none"  # type: ignore[assignment]
        elif "reduction" in inspect.signature(criterion).parameters:
            criterion = functools.partial(criterion, reduction="none")
        self.criterion = criterion

    def forward(self, outputs: Tensor, targets: Tensor, mixture: Mixture | None = None) -> Tensor:
        """Return the loss to call ``backward`` on.

        Parameters
        ----------
        outputs, targets
            Of n samples, as the loss function takes them.
        mixture
            The constituents of each image where images are mixed (mixup, CutMix); ``targets`` are then those
            of the samples before mixing.

        Raises
        ------
        RunError
            If the loss function returns no loss per sample, it is called twice for a batch, or the sampler
            needs a probability of the true class and there are no classes.
        """
        mixture = None if mixture is None else mixture.to(outputs.device)
        labels = targets[:, None] if mixture is None else mixture.gather(targets)
        losses = torch.stack([self._per_sample(outputs, one) for one in labels.unbind(dim=1)], dim=1)
        if not self._recorder.learns:
            return self._mean(losses, labels, mixture, None)
        weights = self._recorder.record(self._measured(losses.detach(), outputs, labels), mixture)
        if weights is not None:
            weights = weights[:, None] if mixture is None else mixture.gather(weights)
        return self._mean(losses, labels, mixture, weights)

    def _per_sample(self, outputs: Tensor, targets: Tensor) -> Tensor:
        losses = self.criterion(outputs, targets)
        if losses.ndim == 0 or len(losses) != len(outputs):
            raise RunError(
                f"a loss function must return a loss per sample, {len(outputs)} here; got shape "
                f"{tuple(losses.shape)}: use one with reduction='none'"
            )
        # One per pixel or per label: a sample's is their mean.
        return losses.flatten(1).mean(dim=1) if losses.ndim > 1 else losses

    def _measured(self, losses: Tensor, outputs: Tensor, labels: Tensor) -> Losses:
        needed = {"p_true", "error"} & set(self._recorder.needs)
        if not needed:
            return Losses(losses)
        if outputs.ndim != 2 or labels.ndim != 2 or labels.is_floating_point():
            raise RunError(
                f"this sampler needs {' and '.join(sorted(needed))}, from outputs [n, classes] and a class "
                f"per sample, int64[n]; got outputs {tuple(outputs.shape)} and targets of shape "
                f"{tuple(labels[:, 0].shape)}, {labels.dtype}: take a sampler that uses the loss alone, as "
                "infobatch, or mix images by mixture="
            )
        log_p = torch.log_softmax(
            outputs.detach(), dim=1, dtype=torch.promote_types(outputs.dtype, torch.float32)
        )
        p_true, error, _ = class_statistics(log_p, labels)
        return Losses(losses, p_true, error if "error" in needed else None)

    def _mean(
        self, losses: Tensor, labels: Tensor, mixture: Mixture | None, weights: Tensor | None
    ) -> Tensor:
        loss = mixed_loss(losses, mixture, weights)
        by_class: Any = getattr(self.criterion, "weight", None)
        if not isinstance(self.criterion, nn.CrossEntropyLoss | nn.NLLLoss) or by_class is None:
            return loss
        if labels.is_floating_point() or labels.ndim != 2:
            return loss
        # torch's mean under class weights is by the sum of these.
        return loss / mixed_loss(by_class[labels], mixture, None)
