"""Conversion: a source's images into one data file, in parallel, whole or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.formats import format_of
from pipeline.formats.beton_writer import BetonWriter
from pipeline.formats.card import Card, HeldOut, read_card
from pipeline.formats.parallel import cores, in_order
from pipeline.formats.statistics import PixelSums
from pipeline.formats.whole import remove_stale
from pipeline.sources.holdout import hold_out
from pipeline.sources.protocol import Source
from pipeline.sources.store import Storage, Stored, fit, store

RAW_UP_TO = 64
"""Pixels of the longer side up to which images are stored raw where the encoding is left open."""
_PROBES = 256
_CHUNK = 32

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """What a conversion makes of its source.

    Attributes
    ----------
    encoding
        "raw" or "jpeg"; None stores raw what has at most 64 pixels on its longer side once resized (judged by
        256 of the images, spread evenly), and else JPEG.
    quality
        Of JPEGs that have to be encoded, 1 to 100. JPEG files that need no resizing are taken over as they
        are.
    reencode
        Encode those as well.
    max_resolution
        Cap on the longer side, in pixels.
    square
        Side in pixels of the centred square that every image is cut and resized to.
    validation
        Share of every class that goes to a second file, ``<stem>-validation.beton``; 0 for none.
    seed
        Of the choice of the validation set.
    workers
        Threads; None for one a core. The bytes written don't depend on it.
    overwrite
        Replace files that are there.

    Raises
    ------
    DataError
        When a value is out of its range.
    """

    encoding: Literal["raw", "jpeg"] | None = None
    quality: int = 90
    reencode: bool = False
    max_resolution: int | None = None
    square: int | None = None
    validation: float = 0.0
    seed: int = 0
    workers: int | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.encoding not in (None, "raw", "jpeg"):
            raise DataError(f"encoding must be raw or jpeg; got {self.encoding}")
        if not 1 <= self.quality <= 100:
            raise DataError(f"quality must be 1 to 100; got {self.quality}")
        for option in ("max_resolution", "square", "workers"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise DataError(f"{option} must be at least 1; got {value}")
        if self.square is not None and self.max_resolution is not None:
            raise DataError(
                f"square and max_resolution must not be given together; got {self.square} and "
                f"{self.max_resolution}: square alone settles the size"
            )
        if not 0 <= self.validation < 1:
            raise DataError(f"validation must be at least 0 and below 1, a share; got {self.validation}")
        if self.seed < 0:
            raise DataError(f"seed must be at least 0; got {self.seed}")


def validation_path(out: Path) -> Path:
    """Where the validation set of a conversion to ``out`` goes."""
    return out.with_name(f"{out.stem}-validation{out.suffix}")


def convert(source: Source, out: Path, options: ConvertOptions, progress: Progress | None = None) -> Card:
    """Convert a source into ``out`` and its card, and into a second pair for a validation set.

    The same source and options give the same bytes. Until everything is written and on the disk nothing
    appears under the final names, and what was there stays.

    Parameters
    ----------
    source
        The images.
    out
        The data file; its ending chooses the format.
    options
        See `ConvertOptions`.
    progress
        Called with (done, total) images as they are written.

    Returns
    -------
    Card
        Of ``out``.

    Raises
    ------
    CorruptSampleError
        When an image can't be decoded; the line names it.
    DataError
        When the source is empty, a file is there already, or can't be written.
    """
    if len(source) == 0:
        raise DataError(f"{source.origin} must hold at least 1 image; it holds none")
    outside = np.flatnonzero((source.labels < 0) | (source.labels >= len(source.classes)))
    if len(outside):
        raise DataError(
            f"a label must be one of the {len(source.classes)} classes, numbered from 0; "
            f"{source.sample_name(int(outside[0]))} of {source.origin} has {source.labels[outside[0]]}"
        )
    paths = [out, validation_path(out)] if options.validation else [out]
    _make_way(out, paths, options)
    held = np.zeros(len(source), np.bool_)
    if options.validation:
        held = hold_out(source.labels, options.validation, options.seed)
        if not held.any():
            raise DataError(
                f"a validation set needs a class of at least 2 images; {source.origin} has {len(source)} "
                "images, each in a class of its own: convert without validation"
            )
    storage = _storage(source, options)
    with ExitStack() as stack:
        # Pillow warns of odd metadata (EXIF above all), which say nothing about the pixels.
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        sizes = [len(source) - int(held.sum()), int(held.sum())]
        writers = [
            stack.enter_context(format_of(path).create(path, size))
            for path, size in zip(paths, sizes, strict=False)
        ]
        tallies = [_Tally() for _ in writers]
        _write(source, held, storage, writers, tallies, options.workers or cores(), progress)
        cards = [
            writer.finish(_card(source, storage, tally, options, validation=part > 0))
            for part, (writer, tally) in enumerate(zip(writers, tallies, strict=True))
        ]
        # The main file comes last: where it stands, its validation set does too.
        for writer, card in reversed(list(zip(writers, cards, strict=True))):
            writer.publish(card)
    return cards[0]


@dataclass(slots=True)
class _Tally:
    """What a card says about images, gathered in the order in which they are written."""

    labels: list[int] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    encoded: int = 0
    sums: PixelSums = field(default_factory=PixelSums)


def _write(
    source: Source,
    held: NDArray[np.bool_],
    storage: Storage,
    writers: list[BetonWriter],
    tallies: list[_Tally],
    workers: int,
    progress: Progress | None,
) -> None:
    """Read, encode and count in threads; write here, in the source's order."""

    def work(chunk: range) -> tuple[list[Stored], list[PixelSums]]:
        stored, sums = [], [PixelSums() for _ in writers]
        for index in chunk:
            one, pixels = store(source, index, storage)
            stored.append(one)
            sums[int(held[index])].add(pixels)
        return stored, sums

    total = len(source)
    chunks = [range(start, min(start + _CHUNK, total)) for start in range(0, total, _CHUNK)]
    for chunk, (stored, sums) in zip(chunks, in_order(work, chunks, workers), strict=True):
        for index, one in zip(chunk, stored, strict=True):
            part = int(held[index])
            label = int(source.labels[index])
            writers[part].append(
                one.content,
                height=one.height,
                width=one.width,
                compressed=storage.compressed,
                label=label,
                checksum=one.checksum,
                name=source.sample_name(index),
            )
            tally = tallies[part]
            tally.labels.append(label)
            tally.heights.append(one.height)
            tally.widths.append(one.width)
            tally.encoded += one.encoded
        for tally, more in zip(tallies, sums, strict=True):
            tally.sums.merge(more)
        if progress is not None:
            progress(chunk.stop, total)


def _storage(source: Source, options: ConvertOptions) -> Storage:
    compressed = options.encoding == "jpeg"
    if options.encoding is None:
        compressed = any(max(shape) > RAW_UP_TO for shape in _probed_shapes(source, options))
    return Storage(compressed, options.quality, options.reencode, options.max_resolution, options.square)


def _probed_shapes(source: Source, options: ConvertOptions) -> Iterator[tuple[int, int]]:
    for index in np.unique(np.linspace(0, len(source) - 1, _PROBES).astype(np.int64)):
        height, width, _ = fit(source.read(int(index)), options.max_resolution, options.square).shape
        yield height, width


def _card(source: Source, storage: Storage, tally: _Tally, options: ConvertOptions, validation: bool) -> Card:
    held_out = None
    if options.validation:
        held_out = HeldOut("validation" if validation else "training", options.validation, options.seed)
    mean, std = tally.sums.mean_and_std()
    heights, widths = (min(tally.heights), max(tally.heights)), (min(tally.widths), max(tally.widths))
    return Card(
        name=source.name,
        split="validation" if validation else source.split,
        samples=len(tally.labels),
        classes=source.classes,
        class_counts=tuple(np.bincount(tally.labels, minlength=len(source.classes)).tolist()),
        height=heights[0] if heights[0] == heights[1] else None,
        width=widths[0] if widths[0] == widths[1] else None,
        min_height=heights[0],
        max_height=heights[1],
        min_width=widths[0],
        max_width=widths[1],
        mean=mean,
        std=std,
        encoding="jpeg" if storage.compressed else "raw",
        quality=storage.quality if tally.encoded else None,
        source=source.origin,
        max_resolution=storage.max_resolution,
        square=storage.square,
        held_out=held_out,
    )


def _make_way(out: Path, paths: list[Path], options: ConvertOptions) -> None:
    """Check that nothing is in the way, and remove what a killed conversion to the same names left."""
    format_of(out)
    for path in paths:
        if path.is_dir():
            raise DataError(f"the file to write must not be a folder; got {path}")
        if path.exists() and not options.overwrite:
            raise DataError(f"{path} must not be there already: give --overwrite, or another name")
    earlier = validation_path(out)
    card = None if earlier in paths or not earlier.exists() else read_card(earlier)
    if card is not None and card.held_out is not None:
        raise DataError(
            f"{earlier} must not stay beside a set that holds its images as well: remove it, or give "
            "--validation"
        )
    for path in (out, earlier):
        remove_stale(path)
