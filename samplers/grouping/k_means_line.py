"""Exact k-means of scalars: groups are intervals, and dynamic programming finds the optimal ones.

With D[g, j] the least sum of squared distances of the j lowest points in g groups ::

    D[g, j] = min over i < j of D[g - 1, i] + scatter(i, j)

where scatter(i, j), that of points i to j - 1 about their mean, takes O(1) from running sums. The best i
increases with j, so each g takes O(n log n) by divide and conquer (Gronlund et al. 2017; the quadratic
algorithm is by Wang & Song 2011).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samplers.draws.arrays import Doubles, Ids
from samplers.draws.kept import kernel
from samplers.errors import SamplingError

MOST_POINTS = 1 << 20
"""Maximum number of points to group individually; more are first merged into as many cells of neighbors."""


@kernel(error_model="numpy")
def _best_cuts(weights: Doubles, sums: Doubles, groups: int) -> Ids:
    # Running sums [n + 1] of points' weights and of weight * value. Instead of minimizing the scatter,
    # maximize its difference from the sum of squares: sum^2 / weight, one term per group.
    points = weights.size - 1
    before = np.empty(points + 1, np.float64)
    for j in range(1, points + 1):
        before[j] = sums[j] * sums[j] / weights[j]
    after = np.empty(points + 1, np.float64)
    chosen = np.zeros((groups + 1, points + 1), np.int32)
    waiting = np.empty((64, 4), np.int64)  # stack of ranges of j and of i; halved, so never 64 deep
    for group in range(2, groups + 1):
        waiting[0] = group, points, group - 1, points - 1
        depth = 1
        while depth > 0:
            depth -= 1
            first, last, low, high = waiting[depth]
            j = (first + last) // 2
            best, best_at = -np.inf, low
            for i in range(low, min(high, j - 1) + 1):
                own = sums[j] - sums[i]
                value = before[i] + own * own / (weights[j] - weights[i])
                if value > best:
                    best, best_at = value, i
            after[j] = best
            chosen[group, j] = best_at
            if first < j:
                waiting[depth] = first, j - 1, low, best_at
                depth += 1
            if j < last:
                waiting[depth] = j + 1, last, best_at, high
                depth += 1
        before, after = after, before
    cuts = np.empty(groups - 1, np.int64)
    end = points
    for group in range(groups, 1, -1):
        end = chosen[group, end]
        cuts[group - 2] = end
    return cuts


def k_means_line(values: NDArray[np.floating], groups: int, most_points: int = MOST_POINTS) -> Ids:
    """Cluster scalars into groups, 0 the lowest, of the least sum of squared distances to their means.

    Up to ``most_points`` distinct values the result is optimal, up to rounding of float64 sums. More are
    first merged into at most M = ``most_points`` cells of neighbors, none wider than 2 / M of the range or
    with more than 2 n / M values besides its first, and no group splits a cell. The sum of squares is then
    at most 8 n (max - min)^2 / M^2 above the optimum: moving a cut to the edge of its cell reassigns at most
    those 2 n / M values.

    Parameters
    ----------
    values
        float32[n] or float64[n], finite.
    groups
        k, at least 1; if there are fewer distinct values, each is a group.
    most_points
        Maximum number of points in the dynamic program, whose memory is 4 * k bytes per point. At least
        2 * k.

    Returns
    -------
    int64[n], each value's group; group numbers have no gaps.
    """
    if not 1 <= groups <= most_points // 2:
        raise SamplingError(f"groups must be from 1 to {most_points // 2:,}; got {groups:,}")
    if not len(values):
        return np.empty(0, np.int64)
    ordered = np.sort(values).astype(np.float64)
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    if len(starts) > most_points:
        # Half of the cells by rank and half by value; equal values stay together.
        half = np.arange(most_points // 2)
        by_rank = np.searchsorted(starts, half * len(ordered) // len(half), side="right") - 1
        edges = ordered[0] + half * ((ordered[-1] - ordered[0]) / len(half))
        starts = starts[np.union1d(by_rank, np.searchsorted(ordered[starts], edges))]
    groups = min(groups, len(starts))
    # Centered: sums of squares of values far from 0 would cancel.
    running = np.append(0.0, np.cumsum(ordered - ordered.mean()))
    ends = np.append(starts, len(ordered))
    cuts = _best_cuts(ends.astype(np.float64), running[ends], groups)
    return np.searchsorted(ordered[starts[cuts]], values, side="right").astype(np.int64)
