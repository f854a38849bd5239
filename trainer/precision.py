"""What losses are computed and kept in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Return ``values`` in float32, as bf16 autocast may not have left them, or in float64 where they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
