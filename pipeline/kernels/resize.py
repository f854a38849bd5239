"""Resizes a window of an image on the host: bilinear, antialiased, optionally flipped.

Pillow's triangle filter, two pixels of the coarser grid wide, truncated at the window's borders: equal to
``image.crop(window).resize(size, BILINEAR)`` within one level, because Pillow also rounds between the two
directions. A window may begin and end within a pixel, as in an image that was scaled during decoding; the
filter then ends with that pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.kept import kernel
from pipeline.kernels.memory import bytes_at

# Halves are rounded up as in Pillow; the excess over 1/2 is larger than the rounding errors of an exact half.
_HALF = np.float32(0.5 + 2.0**-13)
_ZERO = np.float32(0)
_1, _2, _3 = np.uint64(1), np.uint64(2), np.uint64(3)


@kernel
def find_taps(
    low: float,
    length: float,
    mirrored: bool,
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    weights: NDArray[np.float32],
) -> None:
    """Compute the input pixels and weights of ``len(starts)`` output pixels along one direction.

    Output pixel i is the weighted sum of ``counts[i]`` pixels from ``starts[i]`` on, relative to the window's
    first pixel, ``floor(low)``. ``weights`` is flat, with an equal number of entries per output pixel, at
    least ``2 * ceil(max(length / n, 1)) + 1``.
    """
    count = starts.shape[0]
    stretch = weights.shape[0] // count
    first = np.floor(low)
    pixels = int(np.ceil(low + length) - first)
    scale = length / count
    reach = max(scale, 1.0)
    for i in range(count):
        place = count - 1 - i if mirrored else i
        center = low - first + (place + 0.5) * scale
        begin = max(0, int(center - reach + 0.5))
        end = min(pixels, int(center + reach + 0.5))
        row = weights[i * stretch : (i + 1) * stretch]
        total = 0.0
        taps = 0
        for j in range(end - begin):
            weight = 1.0 - abs(begin + j + 0.5 - center) / reach
            if weight > 0.0:
                row[taps] = weight
                taps += 1
                total += weight
            elif taps == 0:
                begin += 1
        counts[i] = taps
        starts[i] = begin
        for j in range(taps):
            row[j] = np.float32(row[j] / total)


@kernel(inline="always")
def taps_of(
    low: float, length: float, mirrored: bool, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return starts and counts, int64[2, count], and weights of ``count`` output pixels: see `find_taps`."""
    taps = np.empty((2, count), np.int64)
    weights = np.empty(count * (2 * int(np.ceil(max(length / count, 1.0))) + 1), np.float32)
    find_taps(low, length, mirrored, taps[0], taps[1], weights)
    return taps, weights


@kernel
def resize_window(
    pixels: NDArray[np.uint8],
    columns: int,
    top: float,
    left: float,
    height: float,
    width: float,
    flip: bool,
    out: NDArray[np.uint8],
) -> None:
    """Resize one window of an image into ``out``, uint8[H, W, 3], contiguous.

    Parameters
    ----------
    pixels
        uint8, flat: the image's rows of ``columns`` RGB pixels, without gaps.
    top, left, height, width
        The window, in possibly fractional pixels of this image; it lies within the image.
    flip
        Whether to flip it horizontally.
    """
    rows, wide = out.shape[0], 3 * out.shape[1]
    down, down_weights = taps_of(top, height, False, rows)
    across, across_weights = taps_of(left, width, flip, out.shape[1])
    first_row, first_column = int(np.floor(top)), int(np.floor(left))
    span = 3 * (int(np.ceil(left + width)) - first_column)
    line, sums = np.empty(span, np.float32), np.empty(wide, np.float32)
    stretch = down_weights.shape[0] // rows
    for i in range(rows):
        begin = 3 * ((first_row + down[0, i]) * columns + first_column)
        weigh_rows(pixels, begin, 3 * columns, down_weights[i * stretch :], down[1, i], line)
        _weigh_columns(line, across[0], across[1], across_weights, sums)
        row = out[i].reshape(-1)
        for j in range(wide):
            row[j] = np.uint8(np.int32(sums[j] + _HALF))


@kernel
def weigh_rows(
    pixels: NDArray[np.uint8],
    begin: int,
    step: int,
    weights: NDArray[np.float32],
    count: int,
    line: NDArray[np.float32],
) -> None:
    """Write the weighted sum of ``count`` rows of the image, ``step`` bytes apart, to ``line``."""
    span = line.shape[0]
    weight = weights[0]
    row = pixels[begin : begin + span]
    if count == 1:
        for j in range(span):
            line[j] = weight * np.float32(row[j])
        return
    other_weight = weights[1]
    other = pixels[begin + step : begin + step + span]
    for j in range(span):
        line[j] = weight * np.float32(row[j]) + other_weight * np.float32(other[j])
    for tap in range(2, count):
        weight = weights[tap]
        row = pixels[begin + tap * step : begin + tap * step + span]
        for j in range(span):
            line[j] += weight * np.float32(row[j])


@kernel
def _weigh_columns(
    line: NDArray[np.float32],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    weights: NDArray[np.float32],
    sums: NDArray[np.float32],
) -> None:
    """Write weighted sums of pixels of ``line``, three values per output pixel.

    Unsigned indices, because checks for negative indices would take half of the time.
    """
    stretch = weights.shape[0] // starts.shape[0]
    for i in range(starts.shape[0]):
        red, green, blue = _ZERO, _ZERO, _ZERO
        source, place = np.uint64(3 * starts[i]), np.uint64(i * stretch)
        for _ in range(counts[i]):
            weight = weights[place]
            red += weight * line[source]
            green += weight * line[source + _1]
            blue += weight * line[source + _2]
            source += _3
            place += _1
        target = np.uint64(3 * i)
        sums[target] = red
        sums[target + _1] = green
        sums[target + _2] = blue


@kernel
def resize_windows(
    samples: NDArray[np.void],
    ids: NDArray[np.int64],
    windows: NDArray[np.int64],
    flips: NDArray[np.bool_],
    out: NDArray[np.uint8],
) -> None:
    """Fill ``out``, uint8[n, H, W, 3], with the resized windows of images in memory.

    Shared by engines for images that need no decoding, so that all return equal crops. Nothing is checked.

    Parameters
    ----------
    samples
        `SAMPLE`[N]: address of each image's rows of RGB pixels, and its height and width.
    ids
        int64[n], indices into ``samples``.
    windows
        int64[n, 4]: top, left, height, width, within their images.
    flips
        bool[n], whether to flip horizontally.
    """
    for i in range(ids.shape[0]):
        sample = samples[ids[i]]
        height, width = int(sample["height"]), int(sample["width"])
        pixels = bytes_at(int(sample["address"]), 3 * height * width)
        top, left, rows, columns = windows[i, 0], windows[i, 1], windows[i, 2], windows[i, 3]
        resize_window(pixels, width, top / 1, left / 1, rows / 1, columns / 1, flips[i], out[i])
