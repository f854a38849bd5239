"""Uniformly random permutations, parallel and cache-friendly (Rao 1961, Sandelius 1962).

Each item is assigned to a random bucket, and every bucket is shuffled by Fisher-Yates. Both steps are exactly
uniform, and so is their result; neither accesses more memory at random than a cache holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samplers.draws import counter, threads
from samplers.draws.arrays import Buckets, Counts, Ids, Places
from samplers.draws.counter import unit, word
from samplers.draws.kept import kernel
from samplers.errors import SamplingError

_BUCKET = 4096  # mean items per bucket, 16 kB
_CHUNK = 2048  # items whose buckets are computed at a time
_AHEAD = 256  # random numbers made at a time, so that the compiler can vectorize them

MOST = 2**31 - 1
"""The largest set that can be drawn from."""


@kernel
def _count(
    start: int, stop: int, slot: int, key: np.uint64, shift: np.uint64, buckets: Buckets, counts: Counts
) -> None:
    own_counts = counts[slot]
    for chunk in range(start, stop, _CHUNK):
        # Slices indexed from 0, so that the compiler vectorizes the hash.
        own = buckets[chunk : min(chunk + _CHUNK, stop)]
        for i in range(own.size):
            own[i] = np.uint32(word(key, chunk + i) >> shift)
        for i in range(own.size):
            own_counts[own[i]] += 1


@kernel
def _scatter(
    start: int,
    stop: int,
    slot: int,
    buckets: Buckets,
    items: Places,
    positions: Counts,
    thrown: Places,
) -> None:
    own = positions[slot]
    for i in range(start, stop):
        bucket = buckets[i]
        place = own[bucket]
        thrown[place] = items[i] if items.size else i
        own[bucket] = place + 1


@kernel
def _shuffle(
    start: int, stop: int, slot: int, key: np.uint64, edges: Counts, thrown: Places, out: Ids
) -> None:
    picks = np.empty(_AHEAD, np.int32)
    for bucket in range(start, stop):
        first, top = edges[bucket], edges[bucket + 1]
        while top > first:
            low = max(first, top - _AHEAD)
            for j in range(top - low):
                picks[j] = np.int32(unit(word(key, low + j)) * np.float64(low + j - first + 1))
            for i in range(top - 1, low - 1, -1):
                pick = first + picks[i - low]
                out[i] = thrown[pick]
                thrown[pick] = thrown[i]
            top = low


def _permute(items: Places, size: int, key: np.uint64) -> Ids:
    if size > MOST:
        raise SamplingError(f"a set must hold at most {MOST:,} samples; got {size:,}")
    bits = (size // _BUCKET).bit_length()
    out = np.empty(size, np.int64)
    if bits == 0:
        thrown = items.copy() if items.size else np.arange(size, dtype=np.int32)
        # One bucket needs no threads. Interpreted kernels (NUMBA_DISABLE_JIT) overflow by design.
        with np.errstate(all="ignore"):
            _shuffle(0, 1, 0, counter.derive(key, 1), np.array([0, size]), thrown, out)
        return out
    buckets = 1 << bits
    shift = np.uint64(64 - bits)
    cuts = threads.spans(size)
    counts = np.zeros((len(cuts), buckets), np.int64)
    bucket_of = threads.working_memory("buckets", size, np.uint32)
    threads.run(_count, cuts, key, shift, bucket_of, counts)
    # Bucket by bucket, and within a bucket span by span: the items' order doesn't depend on the spans.
    flat = counts.T.reshape(-1)
    positions = np.ascontiguousarray((np.cumsum(flat) - flat).reshape(buckets, len(cuts)).T)
    edges = np.append(positions[0], size)
    thrown = threads.working_memory("thrown", size, np.int32)
    threads.run(_scatter, cuts, bucket_of, items, positions, thrown)
    halves = [(i * buckets // len(cuts), (i + 1) * buckets // len(cuts)) for i in range(len(cuts))]
    threads.run(_shuffle, halves, counter.derive(key, 1), edges, thrown, out)
    return out


def permutation(size: int, key: np.uint64) -> Ids:
    """Return a uniformly random permutation of ``range(size)``, int64[size]."""
    return _permute(np.empty(0, np.int32), size, key)


def in_passes(samples: int, size: int, key: np.uint64) -> Ids:
    """Draw ``size`` of ``range(samples)`` without replacement, after whole permutations if it is larger."""
    passes, rest = divmod(size, samples)
    parts = [permutation(samples, counter.derive(key, 3 + number)) for number in range(passes)]
    if rest:
        parts.append(permutation(samples, key)[:rest])
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def shuffled(items: NDArray[np.integer], key: np.uint64) -> Ids:
    """Return a copy of ``items``, integers below 2^31, in uniformly random order, as int64."""
    if not len(items):
        return np.empty(0, np.int64)
    return _permute(items.astype(np.int32, copy=False), len(items), key)
