"""Percentile ranks of losses, as numbers from 0 to 1."""

from __future__ import annotations

import torch
from torch import Tensor


def percentiles_among(values: Tensor, others: Tensor) -> Tensor:
    """Return the fraction of ``others`` at most each value: their empirical distribution function.

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
    """Return the fraction of the values that are at most each one: Kocyigit (2023) eq. 4.4 at beta 1.

    The smallest of n different values has 1 / n, the largest 1; equal values share the rank of the last of
    them. (Algorithm 3 there gives the smallest 0, so that it is never drawn.)

    Returns
    -------
    float64[n]
    """
    return percentiles_among(values, values)


def midpoint_percentiles(values: Tensor) -> Tensor:
    """Return (r + 1/2) / n for the value with r smaller ones; ties are broken by index.

    Returns
    -------
    float64[n], the numbers (1/2) / n to (n - 1/2) / n in some order.
    """
    order = torch.argsort(values, stable=True)
    levels = (torch.arange(len(values), dtype=torch.float64, device=values.device) + 0.5) / len(values)
    return torch.empty_like(levels).scatter_(0, order, levels)
