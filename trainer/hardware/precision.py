"""Precision of forward passes and of losses."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def autocast(device: torch.device, bf16: bool, *, fp16: bool = False) -> AbstractContextManager[object]:
    """Return the context of forward passes on ``device``, one after another: autocast, or none."""
    if fp16:
        return torch.autocast(device.type, dtype=torch.float16)
    return torch.autocast(device.type, dtype=torch.bfloat16) if bf16 else nullcontext()


def at_least_float32(values: Tensor) -> Tensor:
    """Return ``values`` in float32, as bf16 autocast may not have left them, or in float64 where they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
