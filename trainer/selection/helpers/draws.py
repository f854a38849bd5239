"""Weighted draws of indices on the device, from uniforms drawn on the host, without waiting."""

from __future__ import annotations

import torch
from torch import Tensor

_HALF_CELL = 2.0**-25  # float32 uniforms are multiples of 2^-24: the middle of a cell is never 0 nor 1


def exponentials(uniforms: Tensor) -> Tensor:
    """Return Exp(1) variates by inversion, float64 above 0, from float32 ``uniforms`` in [0, 1)."""
    return -torch.log1p(-(uniforms.double() + _HALF_CELL))


def weighted_without_replacement(weights: Tensor, uniforms: Tensor, count: int) -> Tensor:
    """Draw ``count`` different indices in sequence, each by weight among the remaining ones.

    The indices of the smallest Exp(1) / weight are distributed so (Efraimidis and Spirakis 2006): a
    multinomial draw without replacement. Indices of weight 0 come last, in order.

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
    """Draw an index by weight for each uniform, by inverting the cumulative sum.

    Parameters
    ----------
    weights
        float[n], at least 0, not all 0.
    uniforms
        float32[count] in [0, 1).

    Returns
    -------
    int64[count]; never an index of weight 0.
    """
    cumulative = weights.double().cumsum(0)
    thrown = (uniforms.double() + _HALF_CELL) * cumulative[-1:]
    # Only weights that are NaN could lead beyond the last index.
    return torch.searchsorted(cumulative, thrown, right=True).clamp_(max=max(0, len(weights) - 1))


def highest(values: Tensor, count: int) -> Tensor:
    """Return the indices of the ``count`` largest values, int64[count], largest first; ties by index."""
    return torch.argsort(values, descending=True, stable=True)[:count]
