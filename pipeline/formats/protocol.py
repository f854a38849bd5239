"""Protocols of formats on disk: opening data sets, and writing them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.formats.card import Card
from pipeline.modes import Mode
from pipeline.targets import CLASSES, TargetSpec


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image as it is stored.

    Attributes
    ----------
    content
        A JPEG file or raw HWC pixels; None if only its frame is known.
    size
        Number of bytes.
    checksum
        CRC-32 of its bytes.
    height, width
        In pixels.
    """

    content: bytes | None
    size: int
    checksum: int
    height: int
    width: int

    @classmethod
    def of(cls, content: bytes, height: int, width: int) -> StoredImage:
        """Return the description of bytes in memory."""
        return cls(content, len(content), zlib.crc32(content), height, width)


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample as it is stored.

    Attributes
    ----------
    images
        At full size, then at each of the set's levels. A level of the full image's height and width is that
        image, and needs no bytes of its own.
    compressed
        Whether its images are JPEGs rather than raw.
    target
        Index of its class; or its row of labels or values, of the shape and type that the set's `TargetSpec`
        states; None without targets.
    name
        Name of the sample in its source.
    """

    images: Sequence[StoredImage]
    compressed: bool
    target: int | float | NDArray[Any] | None
    name: str


class Writer(Protocol):
    """A data set being written: `append` every sample, `finish`, then `publish`.

    Nothing stands under the final name before `publish`. Leaving the ``with`` block removes what was written,
    unless it was published or `suspend` was called. Where samples lie follows from what is appended and from
    nothing else.
    """

    @property
    def locked(self) -> bool:
        """False where the file system has no locks, so that nothing keeps a second writer away."""
        ...

    def append(self, sample: Sample) -> None:
        """Add the next sample.

        Raises
        ------
        DataError
            When an image is larger than the format can hold, or the disk is full.
        """
        ...

    def take_over(self, sample: Sample) -> bool:
        """Record the next sample as `append` does, whose bytes an earlier writer left in place.

        Only for writers made with ``resume``; the images' content is not read. Return False if the bytes on
        disk don't have these checksums; the writer must then be left.
        """
        ...

    def flush(self) -> None:
        """Flush everything appended so far to the operating system, so that a kill doesn't lose it."""
        ...

    def suspend(self) -> None:
        """Close, and keep the written bytes for a writer with ``resume``."""
        ...

    def finish(self, card: Card) -> Card:
        """Write headers and tables, sync to disk, and return the card with the data's digest."""
        ...

    def publish(self, card: Card) -> None:
        """Rename the finished data set to its final name, and put its card beside it."""
        ...

    def __enter__(self) -> Writer: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Converted(Protocol):
    """An open data set, as engines see it (`pipeline.engines.Dataset`), with access to single samples."""

    path: Path
    card: Card
    targets: Mapping[str, NDArray[Any]]
    """By name, one row per sample: "label" of the kind that ``card.spec`` states; empty without targets."""
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    compressed: NDArray[np.bool_]
    shards: Sequence[NDArray[np.uint8]]
    shard: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    checksums: NDArray[np.uint32] | None
    mode: Mode
    """Of the images."""
    levels: tuple[int, ...]
    """Further sizes at which every image is stored, in pixels, ascending."""
    framed: bool | None
    """Whether targets, shapes, names and card are as written; None if the set has no checksums."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64[n], the class of each sample; raises DataError where the targets are no classes."""
        ...

    def at(self, level: int) -> Converted:
        """Return the same samples at one of ``levels``."""
        ...

    def check_unchanged(self) -> None:
        """Raise ChangedDataError if a file was truncated, written to or replaced since it was mapped."""
        ...

    def image(self, index: int) -> NDArray[Any]:
        """Decode sample ``index``: uint8[h, w, 3], RGB; in other modes as `pipeline.modes` has it."""
        ...

    def encoded(self, index: int) -> bytes:
        """Return the bytes of sample ``index`` as they are stored."""
        ...

    def fault(self, index: int) -> str | None:
        """Read sample ``index`` and return its fault in words; None for a sound one."""
        ...

    def name(self, index: int) -> str:
        """Return the name of sample ``index`` in its source."""
        ...


class Format(Protocol):
    """A storage format of data sets on disk."""

    def open(self, path: Path, *, lenient: bool = False) -> Converted:
        """Open a data set; if ``lenient``, also one with broken samples, which `Converted.fault` reports."""
        ...

    def create(
        self,
        path: Path,
        samples: int,
        *,
        levels: Sequence[int] = (),
        resume: bool = False,
        targets: TargetSpec = CLASSES,
        mode: Mode = "RGB",
    ) -> Writer:
        """Start a data set of at most ``samples`` images.

        Parameters
        ----------
        path
            Its final name.
        samples
            Maximum number that will be appended; the same number when a conversion is resumed.
        levels
            The further sizes that every sample will have, ascending.
        resume
            Keep what an earlier writer of the same path left, suspended, killed or published, for
            `Writer.take_over`; without it, start from nothing.
        targets
            Specification of the targets; classes by default, whose number and names only the card holds.
        mode
            Of the images.
        """
        ...

    def digest(self, path: Path) -> str:
        """Compute the SHA-256 of the data as `Writer.finish` states it on the card."""
        ...

    def remove_stale(self, path: Path) -> None:
        """Remove what a killed or suspended writer of ``path`` left, if there is any and nobody writes it."""
        ...
