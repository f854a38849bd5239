"""Protocols of engines: an engine opens a data set and returns a reader of images by id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.crop import Crop
from pipeline.errors import DataError
from pipeline.machine import MOST_THREADS, share_of_cores
from pipeline.modes import Mode


class Dataset(Protocol):
    """A data set on disk, as engines see it; for example `pipeline.formats.Beton`.

    Attributes
    ----------
    targets
        By name, one row per sample, as training takes them; empty where the images are unlabeled.
    heights, widths
        int64[n].
    mode
        Channels and bits of the images; see `pipeline.modes`.
    compressed
        bool[n]: True for JPEG bytes, False for raw HWC pixels, of 16 bits big-endian.
    shard, offsets, sizes
        int64[n]: sample i is ``shards[shard[i]][offsets[i]:offsets[i] + sizes[i]]``.
    checksums
        uint32[n], CRC-32 of each sample's bytes, or None where the file holds none.
    levels
        Pixels of the shorter side at which the set holds its images besides the full size, ascending.
    """

    path: Path
    targets: Mapping[str, NDArray[Any]]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    mode: Mode
    compressed: NDArray[np.bool_]
    shard: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    checksums: NDArray[np.uint32] | None

    levels: tuple[int, ...]

    def __len__(self) -> int: ...

    @property
    def shards(self) -> Sequence[NDArray[np.uint8]]:
        """The mapped files that hold the samples."""

    def at(self, level: int) -> Dataset:
        """Return the same samples at one of the ``levels``."""

    def check_unchanged(self) -> None:
        """Raise ChangedDataError where a file was truncated, written to or replaced since it was mapped."""

    def image(self, index: int) -> NDArray[Any]:
        """Decode one sample: [h, w, C] of the mode; raises CorruptSampleError, which names it."""

    def name(self, index: int) -> str:
        """Name of a sample in its source."""


@runtime_checkable
class Reader(Protocol):
    """Reader of an open data set. Used by one thread at a time or by several at once.

    Attributes
    ----------
    height, width
        Pixels, the same for every image; None where images differ in shape: then they come as crops only.
    asynchronous
        Whether reading takes long enough to be worth a thread that reads ahead.
    crops
        Whether to ask for a window of each image where the augmentation begins with one: JPEGs are then
        decoded no larger and no further than their windows need, and on the CPU the engines' kernels are
        faster than cropping on a device. False if whole images are in memory on another device.
    """

    height: int | None
    width: int | None
    asynchronous: bool
    crops: bool

    @property
    def decoded(self) -> int:
        """Number of JPEGs decoded so far, each counted once for all windows cut from it together."""

    def read(self, ids: NDArray[np.int64], crop: Crop | None = None) -> Tensor:
        """Read images, in the order asked for, duplicates included.

        Parameters
        ----------
        crop
            One window per id, and the size to resize it to: bilinearly, antialiased (Pillow's triangle
            filter), mirrored where asked. None for whole images, where all share one shape.

        Returns
        -------
        [n, C, H, W] of the mode, channels_last in memory: fresh memory that nobody writes to again, on the
        device or on the host (pinned, where the device is a CUDA one).

        Raises
        ------
        DataError
            When an id isn't in the data set.
        ChangedDataError
            When a file of the data set that is still read from was altered since it was opened.
        CorruptSampleError
            When a sample can't be decoded; names file and sample.
        """

    def read_views(self, ids: NDArray[np.int64], crops: Sequence[Crop]) -> tuple[Tensor, ...]:
        """Read several windows of each image, one crop per view, from one decode.

        Returns the result of `read` for each crop. Pixels may differ from those of `read` only where an
        engine decodes at a reduced scale, as that serves all windows.
        """

    def close(self) -> None:
        """Free threads and memory; a second call does nothing."""


@runtime_checkable
class Pipelined(Reader, Protocol):
    """A reader that can decode a batch in the background."""

    def begin(self, ids: NDArray[np.int64], crop: Crop | None = None) -> Callable[[], Tensor]:
        """Begin to read as `Reader.read` does, and return the function that waits for the images.

        Raises
        ------
        DataError
            As `read` does. A `CorruptSampleError` is raised by the returned function, in the batch's turn.
        """

    def begin_views(self, ids: NDArray[np.int64], crops: Sequence[Crop]) -> Callable[[], tuple[Tensor, ...]]:
        """Begin to read as `Reader.read_views` does; otherwise as `begin`."""


@runtime_checkable
class EngineConfig(Protocol):
    """A frozen dataclass whose fields are the engine's options, ``threads`` among them (`check_threads`)."""

    def open(self, dataset: Dataset, device: torch.device) -> Reader:
        """Open a data set for reading; if its images differ in shape it can be read by crops only.

        Raises
        ------
        DataError
            When it is empty, or its images need more memory than there is.
        MissingExtraError
            When a library is missing; names the command that installs it.
        """


def holds_images(engine: object) -> bool:
    """Whether an engine holds all images of an open set in memory, and no longer reads its files.

    Its config then has ``holds_images = True``.
    """
    return bool(getattr(engine, "holds_images", False))


def check_ids(ids: NDArray[np.int64], dataset: Dataset) -> None:
    """Raise `DataError` unless every id is a sample of the data set."""
    if len(ids) and (ids.min() < 0 or ids.max() >= len(dataset)):
        wrong = ids[(ids < 0) | (ids >= len(dataset))][0]
        raise DataError(
            f"an id must be one of the {len(dataset):,} samples of {dataset.path}, counted from 0; "
            f"got {wrong:,}"
        )


def check_threads(threads: int) -> None:
    """Raise `DataError` unless ``threads`` is a valid option."""
    if threads < 0:
        raise DataError(f"threads must be at least 1, or 0 for one per core; got {threads}")
    if threads > MOST_THREADS:
        raise DataError(f"threads must be at most {MOST_THREADS}; got {threads}: give 0 for one per core")


def thread_count(threads: int) -> int:
    """Return the number of threads to start: ``threads``, or for 0 this process's share of the cores."""
    return threads or share_of_cores()
