"""Memory of images: where a batch's lies on the host, copies to the device and back, and pixels as bytes.

Crops, patches and rectangles are copies of runs of memory and masks of bytes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.ops.packing import Layout

_UNITS = (torch.complex128, torch.int64, torch.int32, torch.int16, torch.uint8)


_KEPT = 8
"""Blocks kept at most: those of the batches that are read ahead, and some in the consumer's hands."""


_VALUES_THERE = 1 << 26
"""Values of intermediate results at once on a device that isn't a CPU."""


class Blocks:
    """Makes uint8 tensors in memory that nobody else holds, if possible in memory that was used before.

    Memory fresh from the operating system costs more than the batch of small images that is copied into it:
    every page is filled with zeros when it is touched. PyTorch keeps a stock of pinned memory, and none of
    other memory on the host. Used by several threads at once.
    """

    def __init__(self, *, pinned: bool) -> None:
        self._pinned = pinned
        self._lock = Lock()
        self._blocks: list[NDArray[np.uint8]] = []

    def empty(self, *shape: int) -> Tensor:
        """Return a contiguous tensor, its contents undefined."""
        if self._pinned:
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        size = math.prod(shape)
        with self._lock:
            for at in range(len(self._blocks)):
                # Held by the list and by the call alone: a tensor, and every view of one, holds it too.
                if self._blocks[at].size == size and sys.getrefcount(self._blocks[at]) == 2:
                    return torch.from_numpy(self._blocks[at]).view(shape)
            block: NDArray[np.uint8] = np.empty(size, np.uint8)
            self._blocks = [block, *self._blocks[: _KEPT - 1]]
        return torch.from_numpy(block).view(shape)


def place(array: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to the device without waiting for it.

    For CUDA through pinned memory: PyTorch's pinned allocator reuses a block only after the copies issued
    from it are complete, so nothing has to be kept alive here. On the CPU the tensor shares the array's
    memory if that is writable.
    """
    tensor = torch.from_numpy(np.require(array, requirements=["C_CONTIGUOUS", "WRITEABLE"]))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def place_all(arrays: Sequence[NDArray[Any]], device: torch.device) -> list[Tensor]:
    """Copy arrays to a device without waiting for it: to a CUDA device as one block, in one copy.

    On the CPU the tensors share the arrays' memory where it is writable, as those of `place`.
    """
    if device.type != "cuda" or len(arrays) < 2:
        return [place(array, device) for array in arrays]
    # PyTorch's pinned allocator reuses a block only after the copies issued from it are complete.
    layout = Layout.of(arrays)
    block = torch.empty(layout.size, dtype=torch.uint8, pin_memory=True)
    layout.fill(block.numpy(), arrays)
    return layout.tensors(block.to(device, non_blocking=True))


class ToHost:
    """Tensors on their way from a device to the host; on the CPU they are there.

    Parameters
    ----------
    tensors
        All on one device.
    stream
        On which they are copied, after what the current stream was given so far and beside what follows; None
        for a copy that is waited for.
    """

    def __init__(self, tensors: Sequence[Tensor], stream: torch.cuda.Stream | None) -> None:
        self._copied: torch.cuda.Event | None = None
        if stream is None:
            self._there = [tensor.cpu() for tensor in tensors]
            return
        stream.wait_stream(torch.cuda.current_stream(stream.device))
        with torch.cuda.stream(stream):
            # Into pinned memory: see torch's _to_copy.
            self._there = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
            self._copied = stream.record_event()
        for tensor in tensors:
            # Its memory isn't given to the current stream's next kernels before it is copied.
            tensor.record_stream(stream)

    def wait(self) -> list[Tensor]:
        """Return the tensors on the host, once they are copied."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._there


def as_levels(memory: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """View bytes uint8[n, H, W, bytes per pixel] as levels [n, H, W, C] of uint8 or uint16."""
    return memory if dtype == np.uint8 else memory.view(torch.uint16)


def to_pixels(images: Tensor) -> Tensor:
    """View [n, C, H, W] images as contiguous [n, H, W, C]; a copy only if they aren't channels_last."""
    return images.permute(0, 2, 3, 1).contiguous()


def to_images(pixels: Tensor) -> Tensor:
    """View contiguous [n, H, W, C] pixels as [n, C, H, W] images, channels_last in memory."""
    return pixels.permute(0, 3, 1, 2)


def images_at_once(pixels: Tensor, values: int = 1 << 18) -> int:
    """Return the number of images of [n, H, W, C] to process at once in multi-pass operations.

    As many as have ``values`` values on a CPU, by default so that intermediate results fit its caches; on
    other devices as many as take 256 MB in float32, since operations hold several such results at once.
    """
    _, height, width, channels = pixels.shape
    if pixels.device.type != "cpu":
        values = _VALUES_THERE
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
