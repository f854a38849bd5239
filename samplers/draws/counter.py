"""Counter-based random numbers: a pure function of (key, index).

Every number is a hash of a 64-bit key and a counter, so a draw needs no state, depends only on its key, and
is the same on any number of threads. The hash is SplitMix64's output function (Steele, Lea
& Flood 2014, with Stafford's thirteenth mix) of ``key + (index + 1) * golden ratio``: number ``index`` of
the SplitMix64 stream whose state starts at ``key``. Keys are hashes themselves, so that the streams of two
rounds or purposes don't overlap.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
from numba import njit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_1, _11, _12, _27, _30, _31 = (np.uint64(bits) for bits in (1, 11, 12, 27, 30, 31))

_52 = np.int64(52)
_BIAS = np.int64(1023)
_MANTISSA = np.int64(0x000FFFFFFFFFFFFF)
_BITS_OF_1 = np.int64(0x3FF0000000000000)
_BITS_OF_ROOT_HALF = np.int64(0x3FE6A09E667F3BCD)


@njit(inline="always")
def word(key: np.uint64, index: int) -> np.uint64:
    """Return 64 random bits: number ``index`` of the stream ``key``."""
    bits = key + (np.uint64(index) + _1) * _GOLDEN
    bits = (bits ^ (bits >> _30)) * _MIX_1
    bits = (bits ^ (bits >> _27)) * _MIX_2
    return bits ^ (bits >> _31)


@njit(inline="always")
def unit(bits: np.uint64) -> np.float64:
    """Return a float64 uniform in [0, 1), on a grid of 2^-53."""
    return np.float64(bits >> _11) * np.float64(2.0**-53)


@njit(inline="always", error_model="numpy")
def exponential(bits: np.uint64) -> np.float64:
    """Return an exponential variate of mean 1: -log(u) for a uniform u from 52 of the bits.

    u lies on the odd multiples of 2^-53, so both tails have that resolution. The logarithm is written out so
    that the compiler can vectorize it, unlike a call of the library's: u's mantissa is scaled to
    [sqrt(1/2), sqrt(2)) and its logarithm summed as the series of 2 artanh(s) up to s^13. The relative error
    is below 2e-12.
    """
    u = (np.float64(bits >> _12) + 0.5) * 2.0**-52
    raw = np.float64(u).view(np.int64) + (_BITS_OF_1 - _BITS_OF_ROOT_HALF)
    exponent = np.float64((raw >> _52) - _BIAS)
    f = np.int64((raw & _MANTISSA) + _BITS_OF_ROOT_HALF).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    series = 2 / 13
    series = series * z + 2 / 11
    series = series * z + 2 / 9
    series = series * z + 2 / 7
    series = series * z + 2 / 5
    series = series * z + 2 / 3
    series = series * z + 2.0
    return -(exponent * 0.6931471805599453 + s * series)


def _hash(key: int, index: int) -> int:
    # ``word`` in Python integers, which don't overflow: for the few keys per round.
    bits = (key + (index + 1) * int(_GOLDEN)) % 2**64
    bits = (bits ^ (bits >> 30)) * int(_MIX_1) % 2**64
    bits = (bits ^ (bits >> 27)) * int(_MIX_2) % 2**64
    return bits ^ (bits >> 31)


def make_key(seed: int, stream: str, number: int = 0) -> np.uint64:
    """Return the key of the random numbers of one purpose.

    Parameters
    ----------
    seed
        Any integer; taken modulo 2^64.
    stream
        Name of the purpose; two purposes never share a stream.
    number
        Index of the round, pass, ... of that purpose.
    """
    key = _hash(seed % 2**64, 0)
    key = _hash(key ^ zlib.crc32(stream.encode()), 1)
    return np.uint64(_hash(key ^ number, 2))


def uniform_at(key: np.uint64, index: int) -> float:
    """Return number ``index`` of a stream as a uniform in [0, 1), for callers that aren't compiled."""
    return (_hash(int(key), index) >> 11) * 2.0**-53


def gamma(shape: int, key: np.uint64) -> float:
    """Return a gamma variate of integer ``shape`` and scale 1 (Marsaglia & Tsang 2000)."""
    d = shape - 1 / 3
    index = 0
    while True:
        first, second, third = (uniform_at(key, index + offset) for offset in range(3))
        index += 3
        normal = math.sqrt(-2 * math.log1p(-first)) * math.cos(2 * math.pi * second)
        root = 1 + normal / math.sqrt(9 * d)
        if root <= 0:
            continue
        cube = root**3
        if math.log1p(-third) < normal * normal / 2 + d * (1 - cube + math.log(cube)):
            return d * cube


def derive(key: np.uint64, number: int) -> np.uint64:
    """Return the key of sub-stream ``number`` of ``key``."""
    return np.uint64(_hash(_hash(int(key), -1) ^ number, number))
