"""k-means of feature vectors with k-means++ initialization; for scalars, `k_means_line` is exact."""

from __future__ import annotations

import math

import numpy as np

from samplers.draws import counter
from samplers.draws.arrays import Doubles, Floats, Ids
from samplers.grouping.coreset import check_features

_CHUNK = 8192
"""Rows whose distances to all centers are in memory at once."""


def k_means(features: Floats, groups: int, seed: int = 0, rounds: int = 20) -> Ids:
    """Return each sample's group by Lloyd's algorithm from greedy k-means++ centers.

    Uniformly drawn centers leave whole clusters without one, which Lloyd's iterations don't repair. Arthur &
    Vassilvitskii (2007) draw each next center with probability proportional to the squared distance from
    those before it; of 2 + log k such candidates the one that reduces the sum of squares most is taken.

    Parameters
    ----------
    features
        float32[N, d].
    groups
        k, at most N; a group may be empty where samples coincide.
    seed
        Seed of the first centers.
    rounds
        Maximum number of Lloyd iterations.

    Returns
    -------
    int64[N], in [0, k).

    Raises
    ------
    SamplingError
        If features aren't finite float32[N, d], or k isn't in [1, N].
    """
    check_features(features, groups)
    centers = features[spread_centers(features, groups, seed)].astype(np.float64)
    group = np.zeros(len(features), np.int64)
    for _ in range(rounds):
        before, group = group, _nearest(features, centers)
        if np.array_equal(before, group):
            break
        sums: Doubles = np.zeros(centers.shape)
        np.add.at(sums, group, features)
        sizes = np.bincount(group, minlength=groups)
        filled = sizes > 0
        centers[filled] = sums[filled] / sizes[filled, None]
    return group


def spread_centers(features: Floats, count: int, seed: int) -> Ids:
    """Return the ids of ``count`` samples as initial centers, by greedy k-means++."""
    key = counter.make_key(seed, "k_means")
    trials = 2 + int(math.log(count))
    chosen = np.empty(count, np.int64)
    chosen[0] = int(counter.uniform_at(key, 0) * len(features))
    gaps = _squared_distances(features, features[chosen[:1]])[:, 0]
    for step in range(1, count):
        total = np.cumsum(gaps, dtype=np.float64)
        first = 1 + (step - 1) * trials
        points = np.array([counter.uniform_at(key, first + trial) for trial in range(trials)]) * total[-1]
        # If all remaining samples coincide with a center, total is 0 and any sample will do.
        candidates = np.minimum(np.searchsorted(total, points, side="right"), len(features) - 1)
        lowered = np.minimum(gaps[:, None], _squared_distances(features, features[candidates]))
        best = int(lowered.sum(axis=0, dtype=np.float64).argmin())
        chosen[step], gaps = candidates[best], lowered[:, best]
    return chosen


def _squared_distances(features: Floats, centers: Floats) -> Floats:
    """Return float32[N, m], from differences: dot products lose small distances between large vectors."""
    columns = [((features - center) ** 2).sum(axis=1) for center in centers]
    return np.stack(columns, axis=1)


def _nearest(features: Floats, centers: Doubles) -> Ids:
    # In float64: float32 dot products lose small distances between large vectors, and the rounding of a
    # processor's matrix product would decide between centers at about the same distance.
    offset = (centers**2).sum(axis=1) / 2
    parts = np.array_split(features, -(-len(features) // _CHUNK))
    found = [(part.astype(np.float64) @ centers.T - offset).argmax(axis=1) for part in parts]
    return np.concatenate(found).astype(np.int64)
