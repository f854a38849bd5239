"""Stored samples: their addresses in the mapped files, and verification of their checksums."""

from __future__ import annotations

import zlib
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.crop import Crop, Windows
from pipeline.engines.protocol import Dataset
from pipeline.errors import DataError
from pipeline.kernels.gray import resize_gray_windows
from pipeline.kernels.memory import SAMPLE
from pipeline.kernels.resize import resize_windows


class StoredSamples:
    """The bytes of a data set's samples, for kernels that read them at their addresses.

    A sample is compared with its checksum when it is checked for the first time. Used by several threads at
    once.

    Attributes
    ----------
    addresses
        int64[n], memory address of each sample's bytes; valid for as long as this object lives.
    table
        Addresses, sizes and shapes for kernels: `SAMPLE`[n].
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        # As the base class: numba doesn't support memory maps.
        self._shards = [np.asarray(shard) for shard in dataset.shards]
        bases = np.array([shard.ctypes.data for shard in self._shards], dtype=np.int64)
        self.addresses: NDArray[np.int64] = bases[dataset.shard] + dataset.offsets
        self.table = describe(dataset, self.addresses)
        self._lock = Lock()
        self._unchecked = np.full(len(dataset), dataset.checksums is not None)
        self._left = int(self._unchecked.sum())

    def bytes(self, index: int) -> NDArray[np.uint8]:
        """Return a view of a sample's bytes, as stored."""
        start = self._dataset.offsets[index]
        sample: NDArray[np.uint8] = self._shards[self._dataset.shard[index]][start:][
            : self._dataset.sizes[index]
        ]
        return sample

    def check(self, ids: NDArray[np.int64]) -> None:
        """Compare samples that weren't checked before with their checksums, where the file holds any.

        Raises
        ------
        CorruptSampleError
            When bytes aren't those that were written; names file and sample.
        """
        checksums = self._dataset.checksums
        if checksums is None or self._left == 0:
            return
        for index in ids[self._unchecked[ids]]:
            if zlib.crc32(self.bytes(index).data) != checksums[index]:
                self._dataset.image(int(index))
            with self._lock:
                self._left -= int(self._unchecked[index])
                self._unchecked[index] = False


def describe(dataset: Dataset, addresses: NDArray[np.int64]) -> NDArray[np.void]:
    """Return `SAMPLE`[n] of a data set whose samples begin at these addresses."""
    table = np.empty(len(dataset), SAMPLE)
    table["address"], table["size"], table["compressed"] = addresses, dataset.sizes, dataset.compressed
    table["height"], table["width"] = dataset.heights, dataset.widths
    return table


def shared_shape(dataset: Dataset) -> tuple[int, int] | tuple[None, None]:
    """Return the height and width of a set's images; None, None if images differ.

    Raises
    ------
    DataError
        When the set is empty.
    """
    if len(dataset) == 0:
        raise DataError(f"a data set must hold at least 1 sample; {dataset.path} holds none")
    heights, widths = dataset.heights, dataset.widths
    if (heights != heights[0]).any() or (widths != widths[0]).any():
        return None, None
    return int(heights[0]), int(widths[0])


def check_whole(dataset: Dataset, shape: tuple[int | None, int | None]) -> tuple[int, int]:
    """Return the shape of whole images.

    Raises
    ------
    DataError
        When the images differ in shape.
    """
    height, width = shape
    if height is None or width is None:
        heights, widths = dataset.heights, dataset.widths
        raise DataError(
            f"images must share one shape to be read whole, or be cropped to one; those of {dataset.path} "
            f"range from {heights.min()}x{widths.min()} to {heights.max()}x{widths.max()}: begin the "
            "augmentation with random_resized_crop or center_crop, or convert with --square"
        )
    return height, width


def check_crop(ids: NDArray[np.int64], crop: Crop, dataset: Dataset) -> None:
    """Raise `DataError` unless ``crop`` has a window within each of these images.

    Kernels rely on it: they don't check what they read.
    """
    windows = crop.windows
    heights, widths = dataset.heights[ids], dataset.widths[ids]
    if len(windows) != len(ids) or crop.height < 1 or crop.width < 1:
        raise DataError(
            f"a crop must have one window per image and at least one pixel; got {len(windows)} windows of "
            f"{crop.height}x{crop.width} pixels for {len(ids)} images"
        )
    wrong = (windows.top < 0) | (windows.left < 0) | (windows.height < 1) | (windows.width < 1)
    wrong |= (windows.top + windows.height > heights) | (windows.left + windows.width > widths)
    if wrong.any():
        at = int(wrong.argmax())
        raise DataError(
            f"a window must lie within its image and hold at least one pixel; got {windows.height[at]}x"
            f"{windows.width[at]} from row {windows.top[at]} and column {windows.left[at]} on, of sample "
            f"{ids[at]}, {heights[at]}x{widths[at]}"
        )


def sides(windows: Windows) -> NDArray[np.int64]:
    """Return windows as kernels take them: int64[n, 4], top, left, height, width."""
    return np.stack([windows.top, windows.left, windows.height, windows.width], axis=1, dtype=np.int64)


def crop_image(image: NDArray[Any], crop: Crop, place: int) -> NDArray[Any]:
    """Cut the window at ``place`` of a crop out of its image, [h, w, C] of any mode, and resize it."""
    part = slice(place, place + 1)
    out: NDArray[Any] = np.empty((1, crop.height, crop.width, image.shape[2]), image.dtype)
    whole = np.ascontiguousarray(image)
    samples = np.array([(whole.ctypes.data, whole.nbytes, *whole.shape[:2], False)], SAMPLE)
    resize = resize_windows if image.shape[2] == 3 else resize_gray_windows
    resize(
        samples,
        np.zeros(1, np.int64),
        sides(crop.windows[part]),
        crop.windows.flip[part],
        out,
    )
    return out.reshape(out.shape[1:])
