"""From losses to places: percentile ranks, and draws by weight from uniforms that the host has drawn.

All are functions of tensors on the device, and none waits for it.
"""

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


def percentiles_among(values: Tensor, others: Tensor) -> Tensor:
    """Fraction of ``others`` that are at most each value: their empirical distribution function.

    Parameters
    ----------
    values
        float[n]
    others
        float[m], at least one.

    Returns
    -------
    float64[n], multiples of 1 / m.
    """
    ordered = torch.sort(others).values
    return torch.searchsorted(ordered, values, right=True).double() / len(others)


def percentile_ranks(values: Tensor) -> Tensor:
    """Fraction of the values that are at most each: Kocyigit (2023) eq. 4.4 at beta 1.

    The smallest of n different values has 1 / n, the largest 1; equal values share the rank of the last of
    them. (Algorithm 3 there gives the smallest 0, so that it is never drawn.)

    Returns
    -------
    float64[n]
    """
    return percentiles_among(values, values)


def midpoint_percentiles(values: Tensor) -> Tensor:
    """(r + 1/2) / n for the value of r smaller ones; equal values are ranked by their places.

    Returns
    -------
    float64[n], the numbers (1/2) / n to (n - 1/2) / n in some order.
    """
    order = torch.argsort(values, stable=True)
    levels = (torch.arange(len(values), dtype=torch.float64, device=values.device) + 0.5) / len(values)
    return torch.empty_like(levels).scatter_(0, order, levels)
