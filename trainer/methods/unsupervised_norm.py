"""Batch normalization by the statistics of another forward pass, of labelled and unlabelled images together.

Kocyigit (2023), chapter 2: one pass without gradient over both takes the statistics, layer by layer; the
second, over the labelled images, is normalized by them and gives the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

Mode = Literal["plain", "record", "replay"]
M = TypeVar("M", bound=nn.Module)


class Recording:
    """Batch normalization in training that keeps a pass's statistics, and normalizes another pass by them.

    Attributes
    ----------
    mode
        "plain" is batch normalization as torch has it. "record" normalizes by the statistics of the input,
        keeps them, and updates the moving averages. "replay" normalizes by those kept, as constants: the
        gradient takes no part in them; the moving averages stay. In evaluation all three are plain.
    synchronized
        Whether "record" takes the statistics over all ranks' inputs.
    """

    mode: Mode = "plain"
    synchronized: bool = False

    # A mixin's view of torch's class.
    training: bool
    track_running_stats: bool
    eps: float
    momentum: float | None
    weight: Any
    bias: Any
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    _kept: tuple[Tensor, Tensor] | None = None

    def forward(self: Any, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """Normalize float[n, C, ...]; statistics are float32 whatever the input's type.

        Raises
        ------
        RuntimeError
            When a pass is replayed that wasn't recorded.
        ValueError
            When a recorded pass has a single value per channel.
        """
        if self.mode == "plain" or not self.training:
            return super().forward(input)  # type: ignore[misc,no-any-return]
        self._check_input_dim(input)
        if self.mode == "record":
            self._kept = self._record(input)
        if self._kept is None:
            raise RuntimeError(
                "statistics must be recorded before they are replayed; this layer saw no pass within "
                "updating_statistics(model)"
            )
        mean, variance = self._kept
        return F.batch_norm(input, mean, variance, self.weight, self.bias, training=False, eps=self.eps)

    @torch.no_grad()
    def _record(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance by channel, and update the moving averages."""
        kind = torch.promote_types(images.dtype, torch.float32)
        dims = [dim for dim in range(images.dim()) if dim != 1]
        variance, mean = torch.var_mean(images.to(kind), dim=dims, correction=0)
        count = images.numel() // images.shape[1]
        if count == 1:
            raise ValueError(f"statistics need more than one value per channel; got {list(images.shape)}")
        total: Tensor | int = count
        if self.synchronized and dist.is_available() and dist.is_initialized():
            # Of all ranks: E[x] and E[x^2], as sums.
            sums = torch.stack([mean, variance + mean.square(), torch.ones_like(mean)]) * count
            dist.all_reduce(sums)
            total = sums[2]
            mean = sums[0] / total
            variance = (sums[1] / total - mean.square()).clamp_(min=0)
        self._average(mean, variance, total)
        return mean, variance

    def _average(self, mean: Tensor, variance: Tensor, count: Tensor | int) -> None:
        """Update the moving averages as torch does: of the mean and of the unbiased variance."""
        if self.running_mean is None or self.running_var is None or not self.track_running_stats:
            return
        factor: Tensor | float = 0.0 if self.momentum is None else self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                # Not read, as torch does: that waits for the device.
                factor = 1.0 / self.num_batches_tracked.double()
        unbiased = variance * (count / (count - 1))
        for average, value in ((self.running_mean, mean), (self.running_var, unbiased)):
            average.copy_(average + factor * (value.to(average.dtype) - average))


class UnsupervisedBatchNorm1d(Recording, nn.BatchNorm1d):
    """`Recording` batch normalization of features [n, C] or sequences [n, C, length]."""


class UnsupervisedBatchNorm2d(Recording, nn.BatchNorm2d):
    """`Recording` batch normalization of images [n, C, H, W]."""


_CONVERTED: dict[type[nn.Module], type[Any]] = {
    nn.BatchNorm1d: UnsupervisedBatchNorm1d,
    nn.BatchNorm2d: UnsupervisedBatchNorm2d,
}


def convert(model: M, *, synchronized: bool = False) -> M:
    """Let all batch normalization of a model take statistics from another pass; return the model.

    Parameters, buffers and their names stay, so that checkpoints and optimizers fit both. Subclasses of
    torch's layers are left as they are. In a loop of your own::

        model = convert(model)
        with updating_statistics(model): model(torch.cat([labelled, unlabelled]))
        with given_statistics(model): loss = criterion(model(labelled), labels)

    Parameters
    ----------
    synchronized
        Whether statistics are those of all ranks, by one all-reduce per layer.
    """
    for module in model.modules():
        if type(module) in _CONVERTED:
            module.__class__ = _CONVERTED[type(module)]
        if isinstance(module, Recording):
            module.synchronized = synchronized
    return model


@contextmanager
def updating_statistics(model: nn.Module) -> Iterator[None]:
    """Return a context in which passes in training record statistics, without gradient."""
    with _mode(model, "record"), torch.no_grad():
        yield


@contextmanager
def given_statistics(model: nn.Module) -> Iterator[None]:
    """Return a context in which passes in training are normalized by the statistics recorded last."""
    with _mode(model, "replay"):
        yield


@contextmanager
def _mode(model: nn.Module, mode: Mode) -> Iterator[None]:
    layers = [module for module in model.modules() if isinstance(module, Recording)]
    for layer in layers:
        layer.mode = mode
    try:
        yield
    finally:
        for layer in layers:
            layer.mode = "plain"
