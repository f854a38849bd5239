"""Numba kernels of the weighted draws; see ``draw`` for the algorithms.

Kernels over ids or blocks take ``start, stop, slot`` first, as ``threads.run`` passes them.
"""

from __future__ import annotations

import numpy as np

from samplers.draws.arrays import Counts, Doubles, Floats, Places, Weights
from samplers.draws.counter import exponential, word
from samplers.draws.kept import kernel

BIN_SHIFT = np.uint32(17)
BINS = 1 << 14  # by 8 exponent and 6 mantissa bits of a float32 key: at most 1.6% wide
BIN_OF_INFINITY = 0x7F800000 >> 17  # bin of weight 0
BLOCK = 8192  # weights per block sum, whatever the number of threads
POINTS = 4 * BLOCK  # sorted points per block
_LARGEST = 3e38  # upper limit of the keys of positive weights
_CHUNK = 2048


@kernel(error_model="numpy")
def make_keys(
    start: int,
    stop: int,
    slot: int,
    key: np.uint64,
    weights: Weights,
    top: float,
    keys: Floats,
    counts: Counts,
) -> None:
    """Write exponential keys and count them by bin; ids of weight 0 get the key infinity."""
    own_counts = counts[slot]
    for chunk in range(start, stop, _CHUNK):
        end = min(chunk + _CHUNK, stop)
        # Slices indexed from 0: with an offset the compiler doesn't vectorize, which takes twice as long.
        own_keys, own_weights = keys[chunk:end], weights[chunk:end]
        for i in range(end - chunk):
            value = min(exponential(word(key, chunk + i)) * (top / np.float64(own_weights[i])), _LARGEST)
            own_keys[i] = np.float32(value) if own_weights[i] > 0 else np.float32(np.inf)
        bits = own_keys.view(np.uint32)
        for i in range(end - chunk):
            own_counts[bits[i] >> BIN_SHIFT] += 1


@kernel(error_model="numpy")
def collect(
    start: int,
    stop: int,
    slot: int,
    keys: Floats,
    edge: int,
    low_starts: Counts,
    edge_starts: Counts,
    low_ids: Places,
    edge_ids: Places,
) -> None:
    """Write the ids of keys in bins below ``edge``, and of those in that bin, in ascending order."""
    bits = keys.view(np.uint32)
    bound = np.uint32(edge)
    some_low, some_tied = np.empty(_CHUNK, np.int32), np.empty(_CHUNK, np.int32)
    low, tied = low_starts[slot], edge_starts[slot]
    for chunk in range(start, stop, _CHUNK):
        # Every id is written, and kept by advancing the index: branches on random keys would be mispredicted.
        # Unsigned indices need no check for negative values.
        a, b = np.uint64(0), np.uint64(0)
        for i in range(chunk, min(chunk + _CHUNK, stop)):
            some_low[a] = i
            some_tied[b] = i
            bin_of_key = bits[i] >> BIN_SHIFT
            a += np.uint64(bin_of_key < bound)
            b += np.uint64(bin_of_key == bound)
        found_low, found_tied = np.int64(a), np.int64(b)
        # Not as assignments to slices: numba compiles their error message for 3 s.
        own_low, own_tied = low_ids[low : low + found_low], edge_ids[tied : tied + found_tied]
        for i in range(found_low):
            own_low[i] = some_low[i]
        for i in range(found_tied):
            own_tied[i] = some_tied[i]
        low += found_low
        tied += found_tied


@kernel(error_model="numpy")
def log_keys(
    start: int, stop: int, slot: int, key: np.uint64, weights: Weights, ids: Places, out: Doubles
) -> None:
    """Write the logarithms of the keys of some ids in float64; weight 0 is treated as 1."""
    for i in range(start, stop):
        weight = np.float64(weights[ids[i]])
        out[i] = np.log(exponential(word(key, ids[i]))) - (np.log(weight) if weight > 0 else 0.0)


@kernel(error_model="numpy")
def sum_weights(start: int, stop: int, slot: int, weights: Weights, sums: Doubles) -> None:
    """Write the sum of each block."""
    for block in range(start, stop):
        total = 0.0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, weights.size)):
            total += np.float64(weights[i])
        sums[block] = total


@kernel(error_model="numpy")
def _count_below(values: Doubles, bound: float) -> int:
    low, high = 0, values.size
    while low < high:
        middle = (low + high) // 2
        if values[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low


@kernel(error_model="numpy")
def _merge(points: Doubles, edges: Doubles, first: int, out: Places) -> None:
    # Assign sorted points to cells: out[j] = first + i where edges[i] <= points[j] < edges[i + 1]. Two
    # cursors, from the front and from the back, move one step each without a branch, and overlap in the
    # CPU's pipeline.
    j, i = 0, 0
    back, last = points.size - 1, edges.size - 2
    while j < back:
        out[j] = first + i
        out[back] = first + last
        inside = int(points[j] < edges[i + 1])
        above = int(points[back] >= edges[last])
        j += inside
        i += 1 - inside
        back -= above
        last -= 1 - above
    if j == back:
        while points[j] >= edges[i + 1]:
            i += 1
        out[j] = first + i


@kernel(error_model="numpy")
def _fill_points(
    points: Doubles, count: int, key: np.uint64, first: int, base: float, total: float, limit: float
) -> None:
    # Gaps are made in a separate loop, which can be vectorized; their running sum is sequential.
    for j in range(count):
        points[j] = exponential(word(key, first + j))
    run = 0.0
    for j in range(count):
        run += points[j]
        points[j] = run
    scale = total / run
    for j in range(count):
        points[j] = min(base + points[j] * scale, limit)


@kernel(error_model="numpy")
def invert(
    start: int,
    stop: int,
    slot: int,
    key: np.uint64,
    size: int,
    point_bases: Doubles,
    spacing: float,
    limit: float,
    weights: Weights,
    bases: Doubles,
    out: Places,
) -> None:
    """Write the ids whose intervals of the running sum of weights contain the sorted points.

    The points of block b lie between ``point_bases[b]`` and ``point_bases[b + 1]``: uniformly random if
    ``spacing`` is 0, else ``spacing`` apart.
    """
    points = np.empty(POINTS, np.float64)
    edges = np.empty(BLOCK + 1, np.float64)
    current = -1
    length = 0
    for block in range(start, stop):
        first = block * POINTS
        count = min(POINTS, size - first)
        base = point_bases[block]
        if spacing > 0:
            for j in range(count):
                points[j] = min(base + np.float64(j) * spacing, limit)
        else:
            _fill_points(points, count, key, first, base, point_bases[block + 1] - base, limit)
        j = 0
        while j < count:
            holder = _count_below(bases, np.nextafter(points[j], np.inf)) - 1
            if holder != current:
                current = holder
                length = min(BLOCK, weights.size - holder * BLOCK)
                edges[0] = bases[holder]
                total = 0.0
                for i in range(length):
                    total += np.float64(weights[holder * BLOCK + i])
                    edges[i + 1] = bases[holder] + total
            end = j + _count_below(points[j:count], edges[length])
            _merge(points[j:end], edges[: length + 1], holder * BLOCK, out[first + j : first + end])
            j = end
