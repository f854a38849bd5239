"""Resizes windows of images of one channel, of 8 or 16 bits, as `pipeline.kernels.resize` does RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.kept import kernel
from pipeline.kernels.memory import bytes_at
from pipeline.kernels.resize import taps_of, weigh_rows

_HALF = np.float32(0.5 + 2.0**-13)
# Levels of 16 bits have too few digits left in float32 for the excess.
_EXACT_HALF = np.float32(0.5)
_ZERO = np.float32(0)


@kernel
def resize_gray_window(
    pixels: NDArray[Any],
    columns: int,
    top: float,
    left: float,
    height: float,
    width: float,
    flip: bool,
    out: NDArray[Any],
) -> None:
    """Resize one window of an image into ``out``, [H, W, 1] of uint8 or uint16, contiguous.

    ``pixels`` are flat, of the same type; otherwise as `pipeline.kernels.resize.resize_window`.
    """
    rows, wide = out.shape[0], out.shape[1]
    down, down_weights = taps_of(top, height, False, rows)
    across, across_weights = taps_of(left, width, flip, wide)
    first_row, first_column = int(np.floor(top)), int(np.floor(left))
    line = np.empty(int(np.ceil(left + width)) - first_column, np.float32)
    stretch, reach = down_weights.shape[0] // rows, across_weights.shape[0] // wide
    half = _HALF if out.itemsize == 1 else _EXACT_HALF
    for i in range(rows):
        begin = (first_row + down[0, i]) * columns + first_column
        weigh_rows(pixels, begin, columns, down_weights[i * stretch :], down[1, i], line)
        for j in range(wide):
            total = _ZERO
            for tap in range(across[1, j]):
                total += across_weights[j * reach + tap] * line[across[0, j] + tap]
            out[i, j, 0] = np.int32(total + half)


@kernel
def resize_gray_windows(
    samples: NDArray[np.void],
    ids: NDArray[np.int64],
    windows: NDArray[np.int64],
    flips: NDArray[np.bool_],
    out: NDArray[Any],
) -> None:
    """Fill ``out``, [n, H, W, 1] of uint8 or uint16, with the resized windows of images in memory.

    Levels of 16 bits are in this machine's order; otherwise as `pipeline.kernels.resize.resize_windows`.
    """
    for i in range(ids.shape[0]):
        sample = samples[ids[i]]
        height, width = int(sample["height"]), int(sample["width"])
        pixels = bytes_at(int(sample["address"]), out.itemsize * height * width).view(out.dtype)
        top, left, rows, columns = windows[i, 0], windows[i, 1], windows[i, 2], windows[i, 3]
        resize_gray_window(pixels, width, top / 1, left / 1, rows / 1, columns / 1, flips[i], out[i])
