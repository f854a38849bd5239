"""Kernels that fold rows into tables of per-sample statistics, one for each kind of table in `history`.

Each takes ids int64[n], values and coefficients float32[n], constants of its table, and its columns,
float32[N]; it returns the first row whose value is not finite, or -1.
"""

from __future__ import annotations

import numpy as np

from samplers.draws.arrays import Floats, Ids
from samplers.draws.kept import kernel

# Each kernel has its own loop: a generic loop that takes the update rule as a function and the columns as a
# tuple took up to six times as long.


@kernel
def fold_mean(ids: Ids, values: Floats, coefficients: Floats, weight: Floats, mean: Floats) -> int:
    """Fold rows into coefficient-weighted means."""
    for row in range(ids.size):
        coefficient = coefficients[row]
        value = values[row]
        if coefficient > 0:
            if not np.isfinite(value):
                return row
            i = ids[row]
            total = weight[i] + coefficient
            if weight[i] == 0:
                mean[i] = value
            else:
                mean[i] += (value - mean[i]) * (coefficient / total)
            weight[i] = total
    return -1


@kernel
def fold_recent(ids: Ids, values: Floats, coefficients: Floats, rate: np.float32, recent: Floats) -> int:
    """Fold rows into exponential moving averages."""
    for row in range(ids.size):
        coefficient = coefficients[row]
        value = values[row]
        if coefficient > 0:
            if not np.isfinite(value):
                return row
            i = ids[row]
            if np.isnan(recent[i]):
                recent[i] = value
            else:
                recent[i] += (value - recent[i]) * (coefficient * rate)
    return -1


@kernel
def fold_moments(
    ids: Ids,
    values: Floats,
    coefficients: Floats,
    weight: Floats,
    square: Floats,
    mean: Floats,
    scatter: Floats,
) -> int:
    """Fold rows into coefficient-weighted means and scatters (West 1979)."""
    for row in range(ids.size):
        coefficient = coefficients[row]
        value = values[row]
        if coefficient > 0:
            if not np.isfinite(value):
                return row
            i = ids[row]
            total = weight[i] + coefficient
            gap = value - mean[i]
            mean[i] += gap * (coefficient / total)
            scatter[i] += coefficient * gap * (value - mean[i])
            weight[i] = total
            square[i] += coefficient * coefficient
    return -1


@kernel
def fold_tracked(
    ids: Ids,
    values: Floats,
    coefficients: Floats,
    rate: np.float32,
    weight: Floats,
    recent: Floats,
    variance: Floats,
) -> int:
    """Fold rows into moving averages and moving variances."""
    for row in range(ids.size):
        coefficient = coefficients[row]
        value = values[row]
        if coefficient > 0:
            if not np.isfinite(value):
                return row
            i = ids[row]
            weight[i] += coefficient
            if np.isnan(recent[i]):
                recent[i] = value
            else:
                gap = value - recent[i]
                variance[i] += (gap * gap - variance[i]) * (coefficient * rate)
                recent[i] += gap * (coefficient * rate)
    return -1


@kernel
def fold_change(
    ids: Ids,
    values: Floats,
    coefficients: Floats,
    rate: np.float32,
    most: np.float32,
    last: Floats,
    change: Floats,
) -> int:
    """Fold rows into moving averages of absolute changes."""
    for row in range(ids.size):
        coefficient = coefficients[row]
        value = values[row]
        if coefficient > 0:
            if not np.isfinite(value):
                return row
            i = ids[row]
            if np.isnan(last[i]):
                last[i] = value
            else:
                step = np.float32(min(abs(value - last[i]), most))
                change[i] = (
                    step if np.isnan(change[i]) else change[i] + (step - change[i]) * (coefficient * rate)
                )
                last[i] += (value - last[i]) * coefficient
    return -1


@kernel
def fold_evolved(
    ids: Ids,
    values: Floats,
    coefficients: Floats,
    weight_rate: np.float32,
    score_rate: np.float32,
    weight: Floats,
    score: Floats,
) -> int:
    """Fold rows into moving averages, and into weights between the average before a row and its value."""
    for row in range(ids.size):
        coefficient = coefficients[row]
        value = values[row]
        if coefficient > 0:
            if not np.isfinite(value):
                return row
            i = ids[row]
            gap = value - score[i]
            weight[i] = score[i] + gap * (coefficient * weight_rate)
            score[i] += gap * (coefficient * score_rate)
    return -1
