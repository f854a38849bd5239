"""Weighted draws from up to 1e8 samples: without replacement, with replacement, systematic.

All take float32 or float64 weights that needn't sum to 1 and a key (``counter.make_key``), and return int64
ids in uniformly random order, so any slice of a result is a fair batch. Sums are float64. Results depend
only on the weights and the key, not on the number of threads.
"""

from __future__ import annotations

import math

import numpy as np

from samplers.draws import counter, kernels, threads
from samplers.draws.arrays import Doubles, Ids, Places, Weights
from samplers.draws.shuffle import MOST, permutation, shuffled
from samplers.errors import SamplingError


def check_weights(weights: Weights) -> float:
    """Check weights and return the largest.

    Raises
    ------
    SamplingError
        For a weight that is NaN, infinite or negative (the message names the first such id); for other types
        and shapes; for no weights, or more than 2^31 - 1.
    """
    if weights.ndim != 1 or weights.dtype not in (np.float32, np.float64):
        raise SamplingError(
            f"weights must be float32[N] or float64[N]; got {weights.dtype} of shape {weights.shape}"
        )
    if not 1 <= len(weights) <= MOST:
        raise SamplingError(f"weights must be of 1 to {MOST:,} samples; got {len(weights):,}")
    # Bit patterns of non-negative floats sort like the floats, and every invalid value (NaN, inf, negative)
    # lies above the largest finite one: a single integer maximum checks all.
    word_type = np.dtype(f"u{weights.dtype.itemsize}")
    if weights.view(word_type).max() >= np.array(np.inf, weights.dtype).view(word_type):
        wrong = ~((weights >= 0) & np.isfinite(weights))
        if wrong.any():
            sample = int(wrong.argmax())
            raise SamplingError(
                f"weights must be finite and at least 0; got {weights[sample]} for sample {sample}"
            )
    return float(weights.max())


def without_replacement(weights: Weights, size: int, key: np.uint64, *, fill: bool = False) -> Ids:
    """Successive sampling: draw ids one after another, each by its weight among those remaining.

    Sample i gets the exponential key -log(u_i) / w_i, and the ids of the ``size`` smallest keys are the
    draw (Efraimidis & Spirakis 2006, whose keys u^(1/w) these are on a log scale). NumPy's
    ``choice(replace=False, p=...)`` has the same distribution. Inclusion probabilities are not size * P_i:
    where they must be known, use ``systematic``.

    Keys are binned by the leading bits of their float32 values. As they are exponential, no bin is expected
    to hold more than 0.6% of the ids, except the last for weights below 1e-38 of the largest. Ids in the bin
    where the draw ends are ranked by float64 keys on a log scale, which don't overflow; so float32 rounding
    and ties don't matter. The result is then shuffled: successive order would put the heavy ids first.

    Parameters
    ----------
    weights
        float32[N] or float64[N].
    size
        Number of ids, at most N.
    key
        Key of the random numbers.
    fill
        If fewer than ``size`` weights are above 0, take those and fill up uniformly from the others instead
        of raising.

    Returns
    -------
    int64[size], all different.

    Raises
    ------
    SamplingError
        As ``check_weights``; for a size outside 0 to N; for too few weights above 0 without ``fill``.
    """
    weights = weights if weights.flags.c_contiguous else weights.copy()
    top = check_weights(weights)
    samples = len(weights)
    if not 0 <= size <= samples:
        raise SamplingError(
            f"size must be from 0 to the {samples:,} samples without replacement; got {size:,}"
        )
    cuts = threads.spans(samples)
    keys = threads.working_memory("keys", samples, np.float32)
    counts = np.zeros((len(cuts), kernels.BINS), np.int64)
    threads.run(kernels.make_keys, cuts, key, weights, top, keys, counts)
    totals = counts.sum(axis=0)
    positive = samples - int(totals[kernels.BIN_OF_INFINITY])
    if size > positive and not fill:
        raise SamplingError(
            f"size must be at most the {positive:,} samples of weight above 0 without replacement; "
            f"got {size:,}"
        )
    edge = int(np.searchsorted(np.cumsum(totals), size))  # the bin of the size-th smallest key
    low, tied = counts[:, :edge].sum(axis=1), counts[:, edge]
    taken = int(low.sum())
    chosen = threads.working_memory("chosen", size, np.int32)
    edge_ids = np.empty(int(tied.sum()), np.int32)
    starts = np.cumsum(low) - low, np.cumsum(tied) - tied
    threads.run(kernels.collect, cuts, keys, edge, *starts, chosen, edge_ids)
    del keys
    missing = size - taken
    if missing < len(edge_ids):
        exact = np.empty(len(edge_ids), np.float64)
        threads.run(kernels.log_keys, threads.spans(len(edge_ids)), key, weights, edge_ids, exact)
        edge_ids = edge_ids[np.argpartition(exact, missing)[:missing]]
    chosen[taken:] = edge_ids
    return shuffled(chosen, counter.derive(key, 2))


def _block_spans(size: int, unit: int) -> list[tuple[int, int]]:
    return [(start // unit, -(-stop // unit)) for start, stop in threads.spans(size, unit)]


def _block_bases(weights: Weights, top: float) -> tuple[Weights, Doubles, float]:
    if not 1e-200 < top < 1e200:
        weights = weights / (top or 1.0)  # the sum might overflow, or lose its bits as a denormal
    sums = np.empty(-(-len(weights) // kernels.BLOCK), np.float64)
    threads.run(kernels.sum_weights, _block_spans(len(weights), kernels.BLOCK), weights, sums)
    ends = np.cumsum(sums)
    if ends[-1] == 0:
        raise SamplingError("weights must hold at least one above 0; all are 0")
    return weights, np.append(0.0, ends[:-1]), float(ends[-1])


def with_replacement(weights: Weights, size: int, key: np.uint64) -> Ids:
    """Draw ``size`` ids independently, id i with probability w_i / sum(w).

    One pass over the weights: sums of exponential gaps, scaled to the sum of the weights, are sorted
    uniforms, which are merged with the running sum of the weights and then shuffled. (Inverting unsorted
    uniforms needs no shuffle but accesses memory randomly, and takes three times as long at N = 1e6.)

    Parameters
    ----------
    weights
        float32[N] or float64[N], at least one above 0.
    size
        Number of ids; may exceed N.
    key
        Key of the random numbers.

    Returns
    -------
    int64[size].

    Raises
    ------
    SamplingError
        As ``check_weights``; for a negative size; when all weights are 0.
    """
    weights = weights if weights.flags.c_contiguous else weights.copy()
    weights, bases, total = _block_bases(weights, check_weights(weights))
    if size < 0:
        raise SamplingError(f"size must be at least 0; got {size}")
    if size == 0:
        return np.empty(0, np.int64)
    # The sum of n exponential gaps is Gamma(n), independent of their ratios: block ends can be drawn first.
    counts = [min(kernels.POINTS, size - first) for first in range(0, size, kernels.POINTS)]
    sums = [counter.gamma(count, counter.derive(key, 3 + block)) for block, count in enumerate(counts)]
    ends = np.cumsum(sums)
    beyond = -math.log1p(-counter.uniform_at(key, size))
    point_bases = np.append(0.0, ends) * (total / (ends[-1] + beyond))
    return shuffled(_inverted(weights, bases, total, size, key, point_bases), counter.derive(key, 2))


def _inverted(
    weights: Weights,
    bases: Doubles,
    total: float,
    size: int,
    key: np.uint64,
    point_bases: Doubles,
    spacing: float = 0.0,
) -> Places:
    out = np.empty(size, np.int32)
    limit = np.nextafter(total, 0.0)
    cuts = _block_spans(size, kernels.POINTS)
    threads.run(kernels.invert, cuts, key, size, point_bases, spacing, limit, weights, bases, out)
    return out


def systematic(weights: Weights, size: int, key: np.uint64) -> Ids:
    """Systematic sampling after a shuffle: id i is drawn size * P_i times, rounded up or down at random.

    The running sum of the shuffled weights is evaluated at ``size`` evenly spaced points after one random
    offset. The expected count of id i is exactly size * P_i; where that is at most 1, it is the inclusion
    probability, and the id is drawn at most once.

    Parameters
    ----------
    weights
        float32[N] or float64[N], at least one above 0.
    size
        Number of ids; may exceed N.
    key
        Key of the random numbers.

    Returns
    -------
    int64[size].

    Raises
    ------
    SamplingError
        As ``with_replacement``.
    """
    top = check_weights(weights)
    if size < 0:
        raise SamplingError(f"size must be at least 0; got {size}")
    order = permutation(len(weights), counter.derive(key, 1))
    weights, bases, total = _block_bases(weights[order], top)
    if size == 0:
        return np.empty(0, np.int64)
    spacing = total / size
    firsts = np.arange(0, size, kernels.POINTS)
    point_bases = ((firsts + counter.uniform_at(key, 0)) * spacing).astype(np.float64)
    indices = _inverted(weights, bases, total, size, key, point_bases, spacing)
    return shuffled(order[indices], counter.derive(key, 2))
