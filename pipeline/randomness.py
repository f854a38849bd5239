"""Counter-based random numbers: a pure function of (seed, stream, round, id, occurrence, view), on the host.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011) has no
state to save, so a draw depends only on its key: not on the other samples of its batch, the rank, the engine,
the thread or earlier draws. A run resumes at any step by drawing again.

Kernels hold words in signed 64-bit integers and mask them to 32 bits after every step. A product of two words
may wrap around in compiled code; its two halves are the same either way, so compiled and interpreted code
agree.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.kernels.kept import kernel

_MOST_IDS = 1 << 40
_MOST_BLOCKS = 1 << 24
_WORD = 0xFFFFFFFF
_MULTIPLIER_0 = 0xD2511F53
_MULTIPLIER_1 = 0xCD9E8D57
_WEYL_0 = 0x9E3779B9
_WEYL_1 = 0xBB67AE85
_NEVER_BEFORE = np.zeros(1, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of the random draws of one batch.

    Attributes
    ----------
    seed
        Seed of augmentation, in [0, 2**32).
    round, step
        The order's round, and the batch's index within it.
    ids
        int64[n] in [0, 2**40), the samples of this rank's part of the batch.
    occurrences
        int64[n], how often the id stood earlier in the round's order (`occurrences`).
    scope
        Prefix of every stream's name, so that two augmentations of one kind in a chain draw independently.
    view
        Index of the sample's view, from 0. Draws for view 0 don't depend on other views.
    copies
        int64[n], which copy of its image a sample is, from 0, in a data set whose samples are multiplied
        (`pipeline.multiplied`); None in others. Random draws don't depend on it, but choices may.
    magnitude
        Factor on the strength of those augmentations that have one (`pipeline.resolution`).
    resolution
        Image size as delivered, relative to full resolution. Options in pixels are defined at full resolution
        and scale with it.
    """

    seed: int
    round: int
    step: int
    ids: NDArray[np.int64]
    occurrences: NDArray[np.int64]
    scope: str = ""
    view: int = 0
    copies: NDArray[np.int64] | None = None
    magnitude: float = 1.0
    resolution: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 32:
            raise DataError(f"an augmentation seed must be at least 0 and below 2**32; got {self.seed}")

    def __len__(self) -> int:
        return len(self.ids)


@lru_cache(maxsize=1024)
def stream_key(name: str) -> int:
    """Return the 32-bit key of a stream's name, the same on every machine and in every version."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")


@kernel
def philox4x32(c0: int, c1: int, c2: int, c3: int, k0: int, k1: int) -> tuple[int, int, int, int]:
    """Apply ten rounds to the counter (c0, c1, c2, c3) with the key (k0, k1); all are 32-bit words."""
    for _ in range(10):
        product_0 = _MULTIPLIER_0 * c0
        product_1 = _MULTIPLIER_1 * c2
        c0 = ((product_1 >> 32) & _WORD) ^ c1 ^ k0
        c1 = product_1 & _WORD
        c2 = ((product_0 >> 32) & _WORD) ^ c3 ^ k1
        c3 = product_0 & _WORD
        k0 = (k0 + _WEYL_0) & _WORD
        k1 = (k1 + _WEYL_1) & _WORD
    return c0, c1, c2, c3


@kernel
def _words(
    k0: int,
    k1: int,
    id_: int,
    occurrence: int,
    round: int,  # noqa: A002
    block: int,
) -> tuple[int, int, int, int]:
    """Return the words of a block of a sample's stream.

    The counter is (id's low 32 bits, id's bits 32 to 39 above 24 bits of block, occurrence, round).
    """
    high = ((id_ >> 32) & 0xFF) << 24
    return philox4x32(id_ & _WORD, high | block, occurrence & _WORD, round & _WORD, k0, k1)


@kernel
def _fill_floats(
    k0: int,
    k1: int,
    ids: NDArray[np.int64],
    occurrences: NDArray[np.int64],
    round: int,  # noqa: A002
    first_block: int,
    out: NDArray[np.float32],
) -> None:
    """Fill row i of ``out``, float32[n, 4 * blocks], with uniforms of 24 bits, one per word of ``ids[i]``."""
    for i in range(ids.shape[0]):
        for block in range(out.shape[1] // 4):
            words = _words(k0, k1, int(ids[i]), int(occurrences[i]), round, first_block + block)
            out[i, 4 * block] = (words[0] >> 8) * 2.0**-24
            out[i, 4 * block + 1] = (words[1] >> 8) * 2.0**-24
            out[i, 4 * block + 2] = (words[2] >> 8) * 2.0**-24
            out[i, 4 * block + 3] = (words[3] >> 8) * 2.0**-24


@kernel
def _fill_doubles(
    k0: int,
    k1: int,
    ids: NDArray[np.int64],
    occurrences: NDArray[np.int64],
    round: int,  # noqa: A002
    first_block: int,
    out: NDArray[np.float64],
) -> None:
    """Fill row i of ``out``, float64[n, 2 * blocks], with uniforms of 53 bits, one per two words."""
    for i in range(ids.shape[0]):
        for block in range(out.shape[1] // 2):
            words = _words(k0, k1, int(ids[i]), int(occurrences[i]), round, first_block + block)
            out[i, 2 * block] = ((words[0] >> 5) * 67108864.0 + (words[1] >> 6)) * 2.0**-53
            out[i, 2 * block + 1] = ((words[2] >> 5) * 67108864.0 + (words[3] >> 6)) * 2.0**-53


def _key(keys: Keys, stream: str, end: int) -> int:
    """Return the key of a stream of which blocks before ``end`` are drawn."""
    if end > _MOST_BLOCKS:
        raise DataError(f"a stream holds at most {_MOST_BLOCKS:,} blocks; got {end:,}")
    name = keys.scope + stream
    return stream_key(f"view {keys.view}/{name}" if keys.view else name)


def _doubles(
    keys: Keys, stream: str, ids: NDArray[np.int64], occurrences: NDArray[np.int64], count: int, first: int
) -> NDArray[np.float64]:
    block, blocks = first // 2, -(-count // 2)
    key, out = _key(keys, stream, block + blocks), np.empty((len(ids), 2 * blocks))
    _fill_doubles(keys.seed, key, ids, occurrences, keys.round, block, out)
    return out[:, :count]


def uniforms(keys: Keys, stream: str, count: int) -> NDArray[np.float32]:
    """Draw ``count`` uniforms per sample.

    Returns
    -------
    float32[n, count], multiples of 2**-24 in [0, 1).
    """
    blocks = -(-count // 4)
    key, out = _key(keys, "sample/" + stream, blocks), np.empty((len(keys), 4 * blocks), np.float32)
    _fill_floats(keys.seed, key, keys.ids, keys.occurrences, keys.round, 0, out)
    return out[:, :count]


def sample_doubles(keys: Keys, stream: str, count: int, first: int = 0) -> NDArray[np.float64]:
    """Draw ``count`` uniforms per sample in double precision, from number ``first`` of the stream on.

    ``first`` is a multiple of 2: a block of the generator makes two doubles. Use one stream either for floats
    (`uniforms`) or for doubles: both are made from the same random words.

    Returns
    -------
    float64[n, count], multiples of 2**-53 in [0, 1).
    """
    return _doubles(keys, "sample/" + stream, keys.ids, keys.occurrences, count, first)


def batch_uniforms(keys: Keys, stream: str, count: int, first: int = 0) -> NDArray[np.float64]:
    """Draw ``count`` uniforms for the batch as a whole, keyed by (seed, stream, round, step).

    Every rank draws the same values. ``first`` is as in `sample_doubles`.

    Returns
    -------
    float64[count], multiples of 2**-53 in [0, 1).
    """
    step = np.array([keys.step], dtype=np.int64)
    return _doubles(keys, "batch/" + stream, step, _NEVER_BEFORE, count, first).reshape(count)


def integers(
    uniform: NDArray[np.float32] | NDArray[np.float64], bounds: NDArray[np.int64] | int
) -> NDArray[np.int64]:
    """Transform uniforms into integers in [0, bounds), by floor(uniform * bounds).

    In double precision: a float32 product can round up to the bound itself.
    """
    return (uniform.astype(np.float64) * bounds).astype(np.int64)


def permutation(keys: Keys, stream: str) -> NDArray[np.int64]:
    """Draw a permutation of the batch's indices, one per batch.

    Returns
    -------
    int64[n]
    """
    return np.argsort(batch_uniforms(keys, stream, len(keys)), kind="stable")


def occurrences(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count earlier occurrences of each id in ``ids``, so that a second view of a sample is independent.

    One pass over a table of counts if ids are dense; sparse ids are ranked first.

    Parameters
    ----------
    ids
        int64[n] in [0, 2**40).

    Returns
    -------
    int64[n]
    """
    out = np.zeros(len(ids), dtype=np.int64)
    if len(ids) == 0:
        return out
    lowest, highest = int(ids.min()), int(ids.max())
    if lowest < 0 or highest >= _MOST_IDS:
        raise DataError(f"ids must be in [0, 2**40); got {lowest if lowest < 0 else highest:,}")
    if highest < 16 * len(ids) + (1 << 16):
        _count_earlier(ids, np.zeros(highest + 1, dtype=np.int32), out)
    else:
        values, ranks = np.unique(ids, return_inverse=True)
        _count_earlier(ranks, np.zeros(len(values), dtype=np.int32), out)
    return out


@kernel
def _count_earlier(values: NDArray[np.int64], seen: NDArray[np.int32], out: NDArray[np.int64]) -> None:
    """Set ``out[i]`` to the number of j < i with ``values[j] == values[i]``; ``seen`` starts as zeros."""
    for i in range(values.shape[0]):
        value = values[i]
        out[i] = seen[value]
        seen[value] += 1
