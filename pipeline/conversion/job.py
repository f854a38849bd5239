"""A running conversion: images read in threads and written in order, with a journal of the progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.complaints import complaints
from pipeline.conversion.journal import Journal
from pipeline.errors import CorruptSampleError, one_line
from pipeline.formats.card import Card, Encoding, HeldOut
from pipeline.formats.parallel import in_order
from pipeline.formats.protocol import Sample, StoredImage, Writer
from pipeline.formats.statistics import PixelSums, Sums, sums_of
from pipeline.modes import PIXELS
from pipeline.sources.protocol import Source, spec_of, targets_of
from pipeline.sources.store import Storage, Stored, store

_CHUNK = 32
_SECONDS = 0.25
"""Seconds between two records of the journal: the work that a kill may cost."""

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Tally:
    """Statistics of one file's images for its card, gathered in the order in which they are written."""

    members: list[int] = field(default_factory=list)
    """Numbers of the images in the source."""
    heights: list[int] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    compressed: int = 0
    encoded: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Name and fault of every corrupt image that was left out."""
    doubtful: list[tuple[str, str]] = field(default_factory=list)
    """Name of every image that was kept although its decoder complained, and the first complaint."""
    sums: Sums = field(default_factory=PixelSums)

    def add(self, index: int, stored: Stored, name: str) -> None:
        """Count image ``index`` of the source."""
        self.members.append(index)
        self.heights.append(stored.images[0].height)
        self.widths.append(stored.images[0].width)
        self.compressed += stored.compressed
        self.encoded += stored.encoded
        if stored.complaint:
            self.doubtful.append((name, stored.complaint))

    def card(
        self, source: Source, storage: Storage, jpeg_fraction: float | None, held_out: HeldOut | None
    ) -> Card:
        """Describe the file; at least one image must have been counted."""
        mean, std = self.sums.mean_and_std()
        count, spec = len(self.members), spec_of(source)
        targets = targets_of(source)
        encoding: Encoding = "mixed"
        if self.compressed in (0, count):
            encoding = "jpeg" if self.compressed else "raw"
        card = Card(
            name=one_line(source.name),
            split="validation" if held_out and held_out.part == "validation" else source.split,
            samples=count,
            classes=spec.classes,
            class_counts=spec.counts(None if targets is None else targets[self.members]),
            height=None,
            width=None,
            min_height=0,
            max_height=0,
            min_width=0,
            max_width=0,
            mean=mean,
            std=std,
            encoding=encoding,
            quality=storage.quality if self.encoded else None,
            source=one_line(source.origin),
            max_resolution=storage.max_resolution,
            square=storage.square,
            levels=storage.levels,
            jpeg_share=jpeg_fraction,
            skipped=len(self.skipped),
            held_out=held_out,
            target=spec.kind,
            columns=spec.columns,
            channels=PIXELS[storage.mode].channels,
            mode=storage.mode,
        )
        return card.of_sizes(np.array(self.heights), np.array(self.widths))


class Conversion:
    """Images of one source on their way into one file, or two where a validation set is held out.

    Parameters
    ----------
    source, storage
        The images, and how they are stored.
    held
        bool[n]: which of them go to the second file.
    writers
        Of one or two files.
    skip_corrupt
        Leave corrupt images out and note them, instead of stopping.

    Attributes
    ----------
    tallies
        One per file.
    done
        Images of the source that are written, or left out, and noted in the journal.
    """

    def __init__(
        self,
        source: Source,
        storage: Storage,
        held: NDArray[np.bool_],
        writers: Sequence[Writer],
        skip_corrupt: bool,
    ) -> None:
        self._source = source
        self._targets = targets_of(source)
        self._storage = storage
        self._held = held
        self._writers = writers
        self._skip_corrupt = skip_corrupt
        self.tallies = [Tally(sums=sums_of(storage.mode)) for _ in writers]
        self.done = 0

    def take_over(self, journal: Journal) -> int:
        """Take over an earlier conversion's files, and return the number of valid records in its journal.

        If that is fewer than there are, this object can't be used further.
        """
        for number, record in enumerate(journal):
            if "rows" in record and not self._take(record):
                return number
        return len(journal)

    def go_on(self, journal: Journal, workers: int, progress: Progress | None) -> None:
        """Read, encode and count the remaining images in threads; write here, in the source's order.

        Raises
        ------
        CorruptSampleError
            When an image can't be decoded and is not to be skipped; the line names it.
        DataError
            When a file can't be written.
        """
        total = len(self._source)
        if progress is not None and self.done:
            progress(self.done, total)
        chunks = [range(start, min(start + _CHUNK, total)) for start in range(self.done, total, _CHUNK)]
        rows: list[list[Any]] = []
        fresh = self._sums()
        noted = time.monotonic()
        for chunk, (outcomes, sums) in zip(chunks, in_order(self._read, chunks, workers), strict=True):
            for index, outcome in zip(chunk, outcomes, strict=True):
                self._append(index, outcome)
                rows.append(_row(index, outcome))
            for mine, more in zip(fresh, sums, strict=True):
                mine.merge(more)
            if time.monotonic() - noted >= _SECONDS or chunk.stop == total:
                # The journal must never be ahead of the bytes that a kill leaves behind.
                for writer in self._writers:
                    writer.flush()
                counts = [one.counts() for one in fresh]
                journal.add({"rows": rows, "counts": counts, "stop": chunk.stop})
                for tally, part in zip(self.tallies, fresh, strict=True):
                    tally.sums.merge(part)
                rows, fresh = [], self._sums()
                self.done, noted = chunk.stop, time.monotonic()
            if progress is not None:
                progress(chunk.stop, total)

    def _sums(self) -> list[Sums]:
        return [sums_of(self._storage.mode) for _ in self._writers]

    def _read(self, chunk: range) -> tuple[list[Stored | str], list[Sums]]:
        outcomes: list[Stored | str] = []
        sums = self._sums()
        for index in chunk:
            try:
                with complaints() as said:
                    stored, pixels = store(self._source, index, self._storage)
            except CorruptSampleError as error:
                if not self._skip_corrupt:
                    raise CorruptSampleError(f"{error}, or leave such images out by --skip-corrupt") from None
                outcomes.append(str(error))
                continue
            outcomes.append(replace(stored, complaint=said[0]) if said else stored)
            sums[int(self._held[index])].add(pixels)
        return outcomes, sums

    def _append(self, index: int, outcome: Stored | str) -> None:
        part, name = int(self._held[index]), self._source.sample_name(index)
        if isinstance(outcome, str):
            self.tallies[part].skipped.append((name, outcome))
            return
        sample = self._sample(index, outcome)
        self._writers[part].append(sample)
        self.tallies[part].add(index, outcome, name)

    def _take(self, record: dict[str, Any]) -> bool:
        """Take over the images of one record; False if their bytes differ from it."""
        for row in record["rows"]:
            index, outcome = _outcome(row)
            part, name = int(self._held[index]), self._source.sample_name(index)
            tally = self.tallies[part]
            if isinstance(outcome, str):
                if not self._skip_corrupt:
                    return False
                tally.skipped.append((name, outcome))
                continue
            sample = self._sample(index, outcome)
            if not self._writers[part].take_over(sample):
                return False
            tally.add(index, outcome, name)
        for tally, counts in zip(self.tallies, record["counts"], strict=True):
            tally.sums.merge_counts(counts)
        self.done = record["stop"]
        return True

    def _sample(self, index: int, stored: Stored) -> Sample:
        target = None if self._targets is None else self._targets[index]
        return Sample(stored.images, stored.compressed, target, self._source.sample_name(index))


def _row(index: int, outcome: Stored | str) -> list[Any]:
    """One image as the journal keeps it."""
    if isinstance(outcome, str):
        return [index, outcome]
    images = [[one.size, one.checksum, one.height, one.width] for one in outcome.images]
    return [index, outcome.compressed, outcome.encoded, images, outcome.complaint]


def _outcome(row: list[Any]) -> tuple[int, Stored | str]:
    """The columns that `_row` packed, without the images' bytes."""
    if len(row) == 2:
        return row[0], row[1]
    index, compressed, encoded, numbers, complaint = row
    return index, Stored(tuple(StoredImage(None, *one) for one in numbers), compressed, encoded, complaint)
