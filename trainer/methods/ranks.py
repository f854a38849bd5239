"""Exchange between ranks within a step: rows of embeddings, a permutation, a mean."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def size() -> int:
    """Return the number of ranks that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's rank."""
    return dist.get_rank() if size() > 1 else 0


def gathered(rows: Tensor) -> Tensor:
    """Return the rows of all ranks, in their order, [size * n, ...] of [n, ...]; with gradients.

    A row's gradient is the sum of those that the losses of all ranks have for it, so that with the mean over
    ranks that data parallelism takes, gradients are those of one process with the whole batch.
    """
    if size() == 1:
        return rows
    everywhere: Tensor = _Gathered.apply(rows)
    return everywhere


def own(rows: Tensor) -> Tensor:
    """Return this rank's part of rows of all ranks."""
    return rows.chunk(size())[rank()]


def permutation(count: int, device: torch.device) -> Tensor:
    """Return a random permutation, int64[count], the same on every rank."""
    drawn = torch.randperm(count, device=device)
    if size() > 1:
        dist.broadcast(drawn, src=0)
    return drawn


def mean(values: Tensor) -> Tensor:
    """Return the mean of a tensor over ranks."""
    if size() == 1:
        return values
    summed = values.clone()
    dist.all_reduce(summed)
    return summed / size()


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        mine = rows.contiguous()
        parts = [torch.empty_like(mine) for _ in range(size())]
        dist.all_gather(parts, mine)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        return own(summed)
