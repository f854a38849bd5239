"""Samples of mapped files into a batch, raw ones by copy and JPEGs by FFCV's C decoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.jpeg import jpeg_header
from pipeline.kernels.memory import bytes_at
from pipeline.kernels.resize import resize_window

READ, UNDECODABLE, MISSHAPEN = 0, 1, 2
"""What became of a sample."""

_CUT_SHORT = np.frombuffer(b" extraneous bytes before marker 0xd9", np.uint8)
_LONGEST_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class Kernels:
    """Two loops over samples: whole images, and windows of images."""

    read: Callable[..., None]
    crop: Callable[..., None]


def make_kernels(decompress: Any, message: Any) -> Kernels:
    """Compile the loops around two ctypes functions.

    Parameters
    ----------
    decompress, message
        ``tjDecompress2`` and ``tjGetErrorStr2``. The former's result is non-zero for a warning too, as for
        data that end early, when it has filled the rest with grey.
    """

    @numba.njit(nogil=True)
    def read(
        samples: NDArray[np.void],
        ids: NDArray[np.int64],
        decoder: int,
        out: NDArray[np.uint8],
        status: NDArray[np.uint8],
    ) -> None:
        """Fill ``out``, uint8[n, H, W, 3], with whole images, and ``status``, uint8[n]."""
        height, width = out.shape[1], out.shape[2]
        pixels, flat = 3 * height * width, out.reshape(-1)
        for i in range(ids.shape[0]):
            sample = samples[ids[i]]
            address, size = int(sample["address"]), int(sample["size"])
            image = flat[i * pixels : (i + 1) * pixels]
            status[i] = READ
            if not sample["compressed"]:
                if size == pixels:
                    # By two thirds of the time that the C library's copy takes.
                    raw = bytes_at(address, pixels)
                    for j in range(pixels):
                        image[j] = raw[j]
                else:
                    status[i] = MISSHAPEN
                continue
            rows, columns, _, _ = jpeg_header(bytes_at(address, size))
            if rows != height or columns != width:
                status[i] = MISSHAPEN
                continue
            # Rows without gaps, RGB (0), and no flags: the slow, exact cosine transform, as Pillow's.
            if decompress(decoder, address, size, image.ctypes.data, width, 0, height, 0, 0) != 0:
                status[i] = UNDECODABLE

    @numba.njit(nogil=True)
    def only_cut_short(decoder: int) -> bool:
        """Whether the decoder's warning is that coded rows were left over behind the last one wanted.

        It keeps the first warning of an image: with this one, it found no fault in the rows it decoded, and
        the file has its end.
        """
        text = bytes_at(message(decoder), _LONGEST_MESSAGE)
        length = 0
        while length < _LONGEST_MESSAGE and text[length] != 0:
            length += 1
        first = length - _CUT_SHORT.size
        if first < 0:
            return False
        same = True
        for i in range(_CUT_SHORT.size):
            same &= text[first + i] == _CUT_SHORT[i]
        return same

    @numba.njit(nogil=True)
    def crop(
        samples: NDArray[np.void],
        vouched: bool,
        exact: bool,
        ids: NDArray[np.int64],
        windows: NDArray[np.int64],
        flips: NDArray[np.bool_],
        decoder: int,
        pixels: NDArray[np.uint8],
        copy: NDArray[np.uint8],
        out: NDArray[np.uint8],
        status: NDArray[np.uint8],
    ) -> None:
        """Fill ``out``, uint8[n, H, W, 3], with resized windows, and ``status``, uint8[n].

        ``windows`` are int64[n, 4]: top, left, height, width, within their images.
        JPEGs are decoded into ``pixels``: where ``exact`` in full, else at the smallest scale of 1, 1/2, 1/4,
        1/8 that leaves the window as many pixels as it is to have. Where ``vouched``, they are also
        decoded no further down than the window needs: as ``copy``, whose header states a smaller height.
        """
        high, wide = out.shape[1], out.shape[2]
        for i in range(ids.shape[0]):
            sample = samples[ids[i]]
            height, width = int(sample["height"]), int(sample["width"])
            top, left = int(windows[i, 0]), int(windows[i, 1])
            rows, columns = int(windows[i, 2]), int(windows[i, 3])
            address, size = int(sample["address"]), int(sample["size"])
            status[i] = READ
            coded = bytes_at(address, size)
            if not sample["compressed"]:
                if size == 3 * height * width:
                    resize_window(coded, width, top / 1, left / 1, rows / 1, columns / 1, flips[i], out[i])
                else:
                    status[i] = MISSHAPEN
                continue
            stated, across, place, unit = jpeg_header(coded)
            if stated != height or across != width:
                status[i] = MISSHAPEN
                continue
            scale = 1
            # With fewer than 8 columns or rows the decoder couldn't tell the scales apart by the size.
            if not exact and height >= 8 and width >= 8:
                while scale < 8 and rows >= 2 * scale * high and columns >= 2 * scale * wide:
                    scale *= 2
            down = height
            if vouched and unit > 0:
                # Colours may be coded at half the height, and are then smoothed with the next row of theirs.
                down = min(height, (top + rows + 2 * scale + unit - 1) // unit * unit)
            cut = down < height
            if cut:
                for j in range(size):
                    copy[j] = coded[j]
                copy[place], copy[place + 1] = down // 256, down % 256
                coded = copy[:size]
            down, across = (down + scale - 1) // scale, (width + scale - 1) // scale
            failed = decompress(decoder, coded.ctypes.data, size, pixels.ctypes.data, across, 0, down, 0, 0)
            if failed != 0 and not (cut and only_cut_short(decoder)):
                status[i] = UNDECODABLE
                continue
            resize_window(
                pixels, across, top / scale, left / scale, rows / scale, columns / scale, flips[i], out[i]
            )

    return Kernels(read, crop)
