"""Batch normalization by the statistics of groups of a batch, as on several GPUs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Grouped:
    """Batch normalization, in training, of equal consecutive parts of the batch by their own statistics.

    Running statistics are those of the first part, as a GPU's that writes the checkpoint.
    """

    groups = 1

    def forward(self: Any, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """Normalize float[n, C, ...]."""
        parts = divisor(len(input), self.groups) if self.training else 1
        first, *others = input.chunk(parts)
        done = [super().forward(first)]  # type: ignore[misc]
        for part in others:
            done.append(F.batch_norm(part, None, None, self.weight, self.bias, training=True, eps=self.eps))
        return torch.cat(done) if others else done[0]


class GroupedBatchNorm1d(Grouped, nn.BatchNorm1d):
    """Grouped batch normalization of features."""


class GroupedBatchNorm2d(Grouped, nn.BatchNorm2d):
    """Grouped batch normalization of images."""


_GROUPED: dict[type[Any], type[Any]] = {
    nn.BatchNorm1d: GroupedBatchNorm1d,
    nn.BatchNorm2d: GroupedBatchNorm2d,
}


def group_norms(network: nn.Module) -> None:
    """Let all batch normalization of a network be grouped, with the weights and statistics that it has."""
    for module in network.modules():
        if isinstance(module, _BatchNorm) and type(module) in _GROUPED:
            module.__class__ = _GROUPED[type(module)]


def set_groups(network: nn.Module, groups: int) -> None:
    """Set the number of groups; a batch is divided into as many at most, of two images at least."""
    for module in network.modules():
        if isinstance(module, Grouped):
            module.groups = groups


def divisor(count: int, most: int) -> int:
    """Return the largest number of equal parts of ``count``, at most ``most``, with at least two each."""
    return next((parts for parts in range(min(most, count // 2), 1, -1) if count % parts == 0), 1)
