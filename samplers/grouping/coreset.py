"""Core-sets, subsets that cover the set in feature space: k-center and facility location.

Both rank samples; ``Scores`` saves the ranking for the subset sampler. They take features float32[N, d] and
break ties by the lowest id.
"""

from __future__ import annotations

import numpy as np

from samplers.draws import counter, threads
from samplers.draws.arrays import Floats, Ids
from samplers.draws.kept import kernel
from samplers.draws.shuffle import permutation
from samplers.errors import SamplingError


@kernel(error_model="numpy")
def _farthest(start: int, stop: int, slot: int, features: Floats, center: int, nearest: Floats) -> int:
    # Update squared distances to the nearest center; return the sample with the largest.
    best = start
    for i in range(start, stop):
        distance = np.float32(0)
        for j in range(features.shape[1]):
            gap = features[i, j] - features[center, j]
            distance += gap * gap
        nearest[i] = min(nearest[i], distance)
        if nearest[i] > nearest[best]:
            best = i
    return best


def check_features(features: Floats, count: int) -> None:
    """Raise SamplingError unless features are finite float32[N, d] and count is in [1, N]."""
    if features.ndim != 2 or features.dtype != np.float32 or not np.isfinite(features).all():
        raise SamplingError(f"features must be finite float32[N, d]; got {features.dtype} {features.shape}")
    if not 1 <= count <= len(features):
        raise SamplingError(f"count must be from 1 to the {len(features):,} samples; got {count:,}")


def as_scores(chosen: Ids, samples: int) -> Floats:
    """Return scores of a greedy choice: the earlier a sample was chosen, the higher; 0 if not chosen."""
    scores = np.zeros(samples, np.float32)
    scores[chosen] = np.arange(len(chosen), 0, -1)
    return scores


def k_center(features: Floats, count: int, seed: int = 0) -> Ids:
    """Greedy k-center: each next sample is the farthest from all those chosen before (Gonzalez 1985).

    The core-set of Sener & Savarese (ICLR 2018): the largest distance from any sample to the nearest chosen
    one is at most twice the optimum. O(N * count * d).

    Parameters
    ----------
    features
        float32[N, d].
    count
        Number of samples to choose.
    seed
        Seed of the first sample, which is random.

    Returns
    -------
    int64[count], in the order chosen.
    """
    check_features(features, count)
    features = np.ascontiguousarray(features)
    samples = len(features)
    nearest = np.full(samples, np.inf, np.float32)
    chosen = np.empty(count, np.int64)
    chosen[0] = int(counter.uniform_at(counter.make_key(seed, "k_center"), 0) * samples)
    cuts = threads.spans(samples * features.shape[1])
    cuts = [(start // features.shape[1], stop // features.shape[1]) for start, stop in cuts]
    for step in range(1, count):
        nearest[chosen[step - 1]] = -1  # chosen: never the farthest again, even among duplicates
        found = threads.run(_farthest, cuts, features, chosen[step - 1], nearest)
        chosen[step] = max(found, key=lambda place: (nearest[place], -place))
    return chosen


def facility_location(features: Floats, count: int, seed: int = 0, error: float = 0.1) -> Ids:
    """Greedy facility location: each next sample is the one that increases F, the coverage, the most.

    Maximizes F(A) = sum_i max_{a in A} s(i, a) with the cosine similarity s = (1 + cos) / 2, by the
    stochastic greedy algorithm (Mirzasoleiman et al. 2015): each step evaluates N / count * ln(1 / error)
    random candidates and takes the best, which reaches 1 - 1/e - error of the best F in expectation.
    O(N^2 * d * ln(1 / error)) in all: choose class by class in large sets.

    Parameters
    ----------
    features
        float32[N, d].
    count
        Number of samples to choose.
    seed
        Seed of the candidates.
    error
        In (0, 1); smaller values evaluate more candidates.

    Returns
    -------
    int64[count], in the order chosen.
    """
    check_features(features, count)
    if not 0 < error < 1:
        raise SamplingError(f"error must be between 0 and 1; got {error}")
    samples = len(features)
    norms = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.float32(1e-12))
    unit = features / norms
    covered = np.zeros(samples, np.float32)
    left = np.ones(samples, bool)
    chosen = np.empty(count, np.int64)
    look = max(1, int(np.ceil(samples / count * np.log(1 / error))))
    for step in range(count):
        pool = np.flatnonzero(left)
        candidates = np.sort(pool[permutation(len(pool), counter.make_key(seed, "facility", step))[:look]])
        similarity = (1 + unit @ unit[candidates].T) / 2
        gains = np.maximum(similarity - covered[:, None], 0).sum(axis=0, dtype=np.float64)
        best = int(gains.argmax())
        chosen[step] = candidates[best]
        left[candidates[best]] = False
        np.maximum(covered, similarity[:, best], out=covered)
    return chosen
