"""Accumulation: the gradients of a step made of micro-batches, one after the other, to save memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields

import torch
from torch import nn

from pipeline import Batch
from trainer.methods import Losses

Pass = Callable[[Batch, Mapping[str, Batch]], Losses]
"""Adds a micro-batch's part of a step's gradients to those that stand in the parameters."""


def accumulate(
    one: Pass, module: nn.Module, count: int, batch: Batch, streams: Mapping[str, Batch]
) -> Losses:
    """Make ``count`` passes over the parts of a batch and of its streams, and return the losses of all.

    Parameters
    ----------
    one
        Makes a pass.
    module
        Ranks exchange gradients in its last pass alone, where it is of several.
    count
        Divides the batches' sizes.
    """
    parts = zip(batch.split(count), *(stream.split(count) for stream in streams.values()), strict=True)
    made = []
    for number, (part, *others) in enumerate(parts, 1):
        context: AbstractContextManager[object] = nullcontext()
        if number < count and isinstance(module, nn.parallel.DistributedDataParallel):
            context = module.no_sync()
        with context:
            made.append(one(part, dict(zip(streams, others, strict=True))))
    return joined(made)


def joined(parts: Sequence[Losses]) -> Losses:
    """Return the losses of consecutive parts of a batch as those of the batch."""
    first = parts[0]
    columns = {
        item.name: torch.cat([getattr(part, item.name) for part in parts])
        for item in fields(Losses)
        if getattr(first, item.name) is not None
    }
    return Losses(**columns)
