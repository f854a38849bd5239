"""Reads samples from mapped files into a batch: raw ones by copy, JPEGs by FFCV's C decoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.gray import resize_gray_window
from pipeline.kernels.jpeg import jpeg_header
from pipeline.kernels.kept import kernel
from pipeline.kernels.memory import bytes_at
from pipeline.kernels.resize import resize_window
from pipeline.kernels.turbojpeg import decompress, message

READ, UNDECODABLE, MISSHAPEN = 0, 1, 2
"""Status of a sample."""

Decoder = tuple[int, int, int]
"""Addresses of ``tjDecompress2``, of ``tjGetErrorStr2``, and of a decoder that a thread uses."""

_CUT_SHORT = np.frombuffer(b" extraneous bytes before marker 0xd9", np.uint8)
_LONGEST_MESSAGE = 200
_GRAY = 6
"""libjpeg-turbo's pixel format of one channel."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """Two kernels: one for whole images, one for windows of images."""

    read: Callable[..., int]
    crop: Callable[..., int]


@cache
def make_kernels(channels: int = 3, depth: int = 1) -> Kernels:
    """Return the loops around libjpeg-turbo's decoder.

    Parameters
    ----------
    channels, depth
        Of the images: values per pixel, and bytes per value; those of two are raw and big-endian.
    """
    unit_size, kind, cut_window = channels * depth, (0 if channels == 3 else _GRAY), _cut
    if channels != 3:
        cut_window = _cut_gray

    def read(
        samples: NDArray[np.void],
        ids: NDArray[np.int64],
        decoder: Decoder,
        out: NDArray[np.uint8],
        status: NDArray[np.uint8],
    ) -> int:
        """Fill ``out``, uint8[n, H, W, bytes per pixel], with whole images, and ``status``, uint8[n].

        Return how many of them were decoded.
        """
        height, width = out.shape[1], out.shape[2]
        pixels, flat = unit_size * height * width, out.reshape(-1)
        decoded = 0
        for i in range(ids.shape[0]):
            sample = samples[ids[i]]
            address, size = int(sample["address"]), int(sample["size"])
            image = flat[i * pixels : (i + 1) * pixels]
            status[i] = READ
            if not sample["compressed"]:
                if size == pixels:
                    # Two thirds of the time of the C library's copy.
                    raw = bytes_at(address, pixels)
                    if depth == 2:
                        _swap(raw, image)
                    else:
                        for j in range(pixels):
                            image[j] = raw[j]
                else:
                    status[i] = MISSHAPEN
                continue
            rows, columns, _, _ = jpeg_header(bytes_at(address, size))
            if rows != height or columns != width:
                status[i] = MISSHAPEN
                continue
            decoded += 1
            # Rows without gaps, and no flags: the slow, exact cosine transform, as in Pillow.
            to = image.ctypes.data
            if decompress(decoder[0], decoder[2], address, size, to, width, 0, height, kind, 0) != 0:
                status[i] = UNDECODABLE
        return decoded

    def crop(
        samples: NDArray[np.void],
        vouched: bool,
        exact: bool,
        ids: NDArray[np.int64],
        windows: NDArray[np.int64],
        flips: NDArray[np.bool_],
        decoder: Decoder,
        pixels: NDArray[np.uint8],
        copy: NDArray[np.uint8],
        outs: tuple[NDArray[np.uint8], ...],
        status: NDArray[np.uint8],
    ) -> int:
        """Fill ``outs``, uint8[n, H, W, 3] per view, with resized windows, and ``status``, uint8[n].

        ``windows`` are int64[views, n, 4]: top, left, height, width, within their images. Every JPEG is
        decoded once, into ``pixels``: where ``exact`` in full, else at the smallest scale of 1, 1/2, 1/4, 1/8
        that leaves every window as many pixels as it is to have. Where ``vouched``, they are also decoded no
        further down than the windows need: as ``copy``, whose header states a smaller height. Return how many
        images were decoded.
        """
        decoded, views = 0, len(outs)
        for i in range(ids.shape[0]):
            sample = samples[ids[i]]
            height, width = int(sample["height"]), int(sample["width"])
            address, size = int(sample["address"]), int(sample["size"])
            status[i] = READ
            coded = bytes_at(address, size)
            if not sample["compressed"]:
                if size == unit_size * height * width:
                    if depth == 2:
                        _swap(coded, pixels)
                        coded = pixels
                    for view in range(views):
                        cut_window(coded, width, windows[view, i], 1, flips[view, i], outs[view][i])
                else:
                    status[i] = MISSHAPEN
                continue
            stated, across, place, unit = jpeg_header(coded)
            if stated != height or across != width:
                status[i] = MISSHAPEN
                continue
            scale, bottom = 8, 0
            for view in range(views):
                rows, columns = int(windows[view, i, 2]), int(windows[view, i, 3])
                bottom = max(bottom, int(windows[view, i, 0]) + rows)
                high, wide = outs[view].shape[1], outs[view].shape[2]
                while scale > 1 and (rows < scale * high or columns < scale * wide):
                    scale //= 2
            # With fewer than 8 columns or rows, the size doesn't determine the decoder's scale.
            if exact or height < 8 or width < 8:
                scale = 1
            down = height
            if vouched and unit > 0:
                # Chroma may be coded at half the height, and is then interpolated with its next row.
                down = min(height, (bottom + 2 * scale + unit - 1) // unit * unit)
            cut = down < height
            if cut:
                for j in range(size):
                    copy[j] = coded[j]
                copy[place], copy[place + 1] = down // 256, down % 256
                coded = copy[:size]
            down, across = (down + scale - 1) // scale, (width + scale - 1) // scale
            decoded += 1
            source, to = coded.ctypes.data, pixels.ctypes.data
            failed = decompress(decoder[0], decoder[2], source, size, to, across, 0, down, kind, 0)
            if failed != 0 and not (cut and _only_cut_short(decoder)):
                status[i] = UNDECODABLE
                continue
            for view in range(views):
                cut_window(pixels, across, windows[view, i], scale, flips[view, i], outs[view][i])
        return decoded

    # A name each, by which compiled code is told apart.
    for function in (read, crop):
        function.__qualname__ = f"{function.__name__}_{channels}x{depth}"
    return Kernels(kernel(read), kernel(crop))


@kernel
def _only_cut_short(decoder: Decoder) -> bool:
    """Return whether the decoder's warning is that coded rows remain after the last one requested.

    It keeps an image's first warning: with this one, the decoded rows have no errors, and the file is
    complete.
    """
    text = bytes_at(message(decoder[1], decoder[2]), _LONGEST_MESSAGE)
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


@kernel
def _swap(words: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Copy big-endian levels of 16 bits in this machine's order."""
    for j in range(0, words.shape[0], 2):
        out[j], out[j + 1] = words[j + 1], words[j]


@kernel
def _cut_gray(
    pixels: NDArray[np.uint8],
    columns: int,
    window: NDArray[np.int64],
    scale: int,
    flip: bool,
    out: NDArray[Any],
) -> None:
    """Resize as `_cut`, of one channel; ``pixels`` are its bytes."""
    top, left, height, width = window[0], window[1], window[2], window[3]
    levels = pixels.view(out.dtype)
    resize_gray_window(levels, columns, top / scale, left / scale, height / scale, width / scale, flip, out)


@kernel
def _cut(
    pixels: NDArray[np.uint8],
    columns: int,
    window: NDArray[np.int64],
    scale: int,
    flip: bool,
    out: NDArray[np.uint8],
) -> None:
    """Resize a window, int64[4], of an image whose sides were divided by ``scale`` when it was decoded."""
    top, left, height, width = window[0], window[1], window[2], window[3]
    resize_window(pixels, columns, top / scale, left / scale, height / scale, width / scale, flip, out)
