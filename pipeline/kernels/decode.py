"""Samples of a mapped file into a batch, raw ones by copy and JPEGs by FFCV's C decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

READ, UNDECODABLE, MISSHAPEN = 0, 1, 2
"""What became of a sample."""


@numba.njit(nogil=True)
def jpeg_shape(data: NDArray[np.uint8]) -> tuple[int, int]:
    """Give the height and width in a JPEG's frame header, or (0, 0) where none is found.

    The decoder has to be told the shape and doesn't check it: a larger image it would scale down, and a
    smaller one it would write in rows of the wrong length.
    """
    at, end = 2, data.size
    while at + 9 <= end and data[at] == 0xFF:
        marker = int(data[at + 1])
        if marker == 0xFF:
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker != 0xC4 and marker != 0xC8 and marker != 0xCC:
            return int(data[at + 5]) * 256 + int(data[at + 6]), int(data[at + 7]) * 256 + int(data[at + 8])
        else:
            at += 2 + int(data[at + 2]) * 256 + int(data[at + 3])
    return 0, 0


def make_reader(decompress: Any, memcpy: Any) -> Callable[..., None]:
    """Compile the loop around two ctypes functions: ``tjDecompress2``, and ``my_memcpy`` of FFCV.

    The result of ``tjDecompress2`` is non-zero for a warning too, as for data that end early, when it has
    filled the rest with grey. ``my_memcpy`` copies six times as fast as an assignment of slices.
    """

    @numba.njit(nogil=True)
    def read(
        data: NDArray[np.uint8],
        offsets: NDArray[np.int64],
        sizes: NDArray[np.int64],
        compressed: NDArray[np.bool_],
        ids: NDArray[np.int64],
        decoder: int,
        out: NDArray[np.uint8],
        status: NDArray[np.uint8],
    ) -> None:
        height, width = out.shape[1], out.shape[2]
        for i in range(ids.shape[0]):
            sample = data[offsets[ids[i]] : offsets[ids[i]] + sizes[ids[i]]]
            image = out[i]
            status[i] = READ
            if not compressed[ids[i]]:
                if sample.size == image.size:
                    memcpy(sample.ctypes.data, image.ctypes.data, sample.size)
                else:
                    status[i] = MISSHAPEN
                continue
            rows, columns = jpeg_shape(sample)
            if rows != height or columns != width:
                status[i] = MISSHAPEN
                continue
            # Rows without gaps, RGB (0), and no flags: the slow, exact cosine transform, as Pillow's.
            failed = decompress(
                decoder, sample.ctypes.data, sample.size, image.ctypes.data, width, 0, height, 0, 0
            )
            if failed != 0:
                status[i] = UNDECODABLE

    compiled: Callable[..., None] = read
    return compiled
