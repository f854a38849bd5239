"""Operations on images as rows of memory: crops, patches and rectangles by copies and masks of bytes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_UNITS = (torch.complex128, torch.int64, torch.int32, torch.int16, torch.uint8)


def to_pixels(images: Tensor) -> Tensor:
    """View [n, C, H, W] images as contiguous [n, H, W, C]; a copy only if they aren't channels_last."""
    return images.permute(0, 2, 3, 1).contiguous()


def to_images(pixels: Tensor) -> Tensor:
    """View contiguous [n, H, W, C] pixels as [n, C, H, W] images, channels_last in memory."""
    return pixels.permute(0, 3, 1, 2)


def images_at_once(pixels: Tensor, values: int = 1 << 18) -> int:
    """Return the number of images of [n, H, W, C] to process at once in multi-pass operations.

    All of them, but on a CPU only as many as have ``values`` values: by default so that intermediate results
    fit its caches.
    """
    n, height, width, channels = pixels.shape
    if pixels.device.type != "cpu":
        return max(1, n)
    return max(1, values // max(1, height * width * channels))


def rework(
    pixels: Tensor, samples: Tensor, parameters: Tensor, work: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Replace some images by the result of ``work(images, parameters)``.

    Parameters
    ----------
    pixels
        [n, H, W, C], contiguous; written to.
    samples
        int64[m], indices of the images.
    parameters
        First axis m.
    """
    # On a CPU a few megabytes at once: larger memory is returned to the system after each batch, and must be
    # mapped again page by page.
    rows, piece = _units(pixels), images_at_once(pixels, 1 << 20)
    for first in range(0, len(samples), piece):
        at = samples[first : first + piece]
        done = work(torch.index_select(pixels, 0, at), parameters[first : first + piece])
        rows.index_copy_(0, at, _units(done))


def gather_runs(pixels: Tensor, starts: Tensor, length: int) -> Tensor:
    """Copy runs of ``length`` adjacent pixels from arbitrary starts in memory.

    One ``index_select`` over a view with overlapping rows, so each run is one block copy. This is ten times
    faster on a CPU than gathering single pixels.

    Parameters
    ----------
    pixels
        [m, C], contiguous.
    starts
        int64[k], each in [0, m - length].
    length
        Pixels per run, at least 1.

    Returns
    -------
    [k, length * C]
    """
    count, channels = pixels.shape
    runs = pixels.as_strided((max(count - length + 1, 0), length * channels), (channels, 1))
    return torch.index_select(runs, 0, starts)


def byte_columns(pixels: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Return a byte mask of the columns from ``first`` up to, but not including, ``last``.

    Parameters
    ----------
    pixels
        [n, H, W, C], contiguous.
    first, last
        int64[n]

    Returns
    -------
    uint8[n, 1, W * bytes per pixel], 255 for those columns and 0 elsewhere.
    """
    unit = pixels.shape[3] * pixels.element_size()
    return _between(pixels.shape[2] * unit, first * unit, last * unit)[:, None, :]


def byte_rectangle(pixels: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return a byte mask of rows ``top`` to ``bottom`` and columns ``left`` to ``right``, ends exclusive.

    Returns
    -------
    uint8[n, H, W * bytes per pixel], 255 inside and 0 outside.
    """
    rows = _between(pixels.shape[1], top, bottom)[:, :, None]
    return byte_columns(pixels, left, right) & rows


def to_bytes(pixels: Tensor) -> Tensor:
    """View contiguous [n, H, W, C] pixels as uint8[n, H, W * bytes per pixel]."""
    return pixels.flatten(2).view(torch.uint8)


def choose(mask: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    """Select the bytes of ``chosen`` where ``mask`` is 255 and of ``other`` where it is 0.

    Three passes over bytes: on a CPU a third of the time of ``torch.where``.
    """
    return chosen.bitwise_xor(other).bitwise_and_(mask).bitwise_xor_(other)


def _between(count: int, first: Tensor, last: Tensor) -> Tensor:
    place = torch.arange(count, device=first.device)
    within = (place >= first[:, None]) & (place < last[:, None])
    return within.to(torch.uint8).mul_(255)


def _units(pixels: Tensor) -> Tensor:
    """View contiguous [n, ...] as [n, k] of the widest dtype that divides a row.

    ``index_copy_`` copies element by element on a CPU: with 16-byte elements it is as fast as memory.
    """
    rows = pixels.flatten(1)
    size = rows.shape[1] * rows.element_size()
    return rows.view(next(dtype for dtype in _UNITS if size % dtype.itemsize == 0))
