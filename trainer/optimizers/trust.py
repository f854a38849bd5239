"""Trust ratios: an update's length by that of the weights, of which LARS and LAMB are made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def trust_ratios(
    weights: Sequence[Tensor], updates: Sequence[Tensor], trust: float = 1.0, weight_decay: float = 0.0
) -> list[Tensor]:
    """Return ``trust`` ||w|| / (||u|| + ``weight_decay`` ||w||) of each pair w and u, 1 where a norm is 0.

    Does not wait for the device.

    Parameters
    ----------
    weights, updates
        Tensors of the same shapes, in pairs.

    Returns
    -------
    list of Tensor
        One number for each pair, of the tensors' type.
    """
    lengths, steps = (torch.stack(torch._foreach_norm(list(tensors))) for tensors in (weights, updates))
    both = (lengths > 0) & (steps > 0)
    ratios = trust * lengths / torch.where(both, steps + weight_decay * lengths, 1.0)
    return list(torch.where(both, ratios, 1.0).unbind())
