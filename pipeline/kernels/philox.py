"""Philox4x32-10, the counter-based generator of Salmon et al. (2011), as kernels over a batch.

Words are held in signed 64-bit integers and masked to 32 bits after every step. A product of two words may
wrap around in compiled code; its two halves are the same either way, so compiled and interpreted code agree.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_WORD = 0xFFFFFFFF
_MULTIPLIER_0 = 0xD2511F53
_MULTIPLIER_1 = 0xCD9E8D57
_WEYL_0 = 0x9E3779B9
_WEYL_1 = 0xBB67AE85


@numba.njit(nogil=True)
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


@numba.njit(nogil=True)
def fill_words(
    k0: int,
    k1: int,
    ids: NDArray[np.int64],
    occurrences: NDArray[np.int64],
    round: int,  # noqa: A002
    first_block: int,
    out: NDArray[np.uint32],
) -> None:
    """Fill row i of ``out``, uint32[n, 4 * blocks], with the words of ``ids[i]`` from ``first_block`` on.

    The counter is (id's low 32 bits, id's bits 32 to 39 above 24 bits of block, occurrence, round).
    """
    for i in range(ids.shape[0]):
        identity = int(ids[i])
        low = identity & _WORD
        high = ((identity >> 32) & 0xFF) << 24
        occurrence = int(occurrences[i]) & _WORD
        for block in range(out.shape[1] // 4):
            words = philox4x32(low, high | (first_block + block), occurrence, round & _WORD, k0, k1)
            out[i, 4 * block] = words[0]
            out[i, 4 * block + 1] = words[1]
            out[i, 4 * block + 2] = words[2]
            out[i, 4 * block + 3] = words[3]
