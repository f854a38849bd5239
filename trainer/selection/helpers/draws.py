"""Weighted draws of places on the device, from uniforms that the host has drawn; none waits for it."""

from __future__ import annotations

import torch
from torch import Tensor

_HALF_CELL = 2.0**-25  # float32 uniforms are multiples of 2^-24: the middle of a cell is never 0 nor 1


def exponentials(uniforms: Tensor) -> Tensor:
    """Exp(1) variates by inversion, float64 above 0, of float32 ``uniforms`` in [0, 1)."""
    return -torch.log1p(-(uniforms.double() + _HALF_CELL))


def weighted_without_replacement(weights: Tensor, uniforms: Tensor, count: int) -> Tensor:
    """Draw ``count`` different places one after another, each by weight among those that are left.

    The places of the smallest Exp(1) / weight are distributed so (Efraimidis and Spirakis 2006): a
    multinomial draw without replacement. Places of weight 0 come last, in their order.

    Parameters
    ----------
    weights
        float[n], at least 0, of any scale.
    uniforms
        float32[n] in [0, 1).
    count
        At most n.

    Returns
    -------
    int64[count], in the order of the draws.
    """
    keys = exponentials(uniforms) / weights.double()
    return torch.argsort(keys, stable=True)[:count]


def weighted_with_replacement(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Draw a place by weight for each uniform, by inverting the cumulative sum.

    Parameters
    ----------
    weights
        float[n], at least 0, not all 0.
    uniforms
        float32[count] in [0, 1).

    Returns
    -------
    int64[count]; never a place of weight 0.
    """
    cumulative = weights.double().cumsum(0)
    thrown = (uniforms.double() + _HALF_CELL) * cumulative[-1:]
    # Only weights that are not numbers could lead beyond the last place.
    return torch.searchsorted(cumulative, thrown, right=True).clamp_(max=max(0, len(weights) - 1))


def highest(values: Tensor, count: int) -> Tensor:
    """Places of the ``count`` largest values, int64[count], largest first; of equal ones the first places."""
    return torch.argsort(values, descending=True, stable=True)[:count]
