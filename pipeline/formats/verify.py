"""Verification: reads a whole data file to find broken samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DataError
from pipeline.formats import format_of
from pipeline.formats.parallel import in_order
from pipeline.machine import MOST_THREADS, cores

_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of reading every sample.

    Attributes
    ----------
    samples
        Number of samples read.
    broken
        By number: a sample's name and what is wrong with it.
    unaltered
        Whether the file is as written, by the digest on its card, else by its own checksums; None for a file
        that has neither, as FFCV writes them.
    refusal
        Why the set can't be opened nevertheless, for example because its card is another's; None if it can.
    """

    samples: int
    broken: dict[int, tuple[str, str]]
    unaltered: bool | None
    refusal: str | None = None

    @property
    def sound(self) -> bool:
        """Whether no fault was found."""
        return not self.broken and self.unaltered is not False and self.refusal is None


def verify(
    path: Path, workers: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Verdict:
    """Read and decode every sample of a data set at every level, and compare the data with their card.

    Parameters
    ----------
    path
        The data file.
    workers
        Threads; None for one per core.
    progress
        Called with (done, total) samples.

    Raises
    ------
    DataError
        When the file is missing, of no known format, or so damaged that samples can't be told apart, or
        ``workers`` is below 1 or above 1,024.
    """
    if workers is not None and workers < 1:
        raise DataError(f"workers must be at least 1; got {workers}")
    if workers is not None and workers > MOST_THREADS:
        raise DataError(f"workers must be at most {MOST_THREADS:,}; got {workers:,}: take less")
    form = format_of(path)
    data = form.open(path, lenient=True)
    unaltered = data.framed
    if data.card.digest is not None:
        unaltered = form.digest(path) == data.card.digest
    levels = {level: data.at(level) for level in data.levels}

    def work(chunk: range) -> list[tuple[int, str]]:
        found = []
        for index in chunk:
            faults = [
                f"at level {level} {fault}" for level in levels if (fault := levels[level].fault(index))
            ]
            first = data.fault(index) or next(iter(faults), None)
            if first is not None:
                found.append((index, first))
        return found

    total = len(data)
    chunks = [range(start, min(start + _CHUNK, total)) for start in range(0, total, _CHUNK)]
    broken: dict[int, tuple[str, str]] = {}
    for chunk, faults in zip(chunks, in_order(work, chunks, workers or cores()), strict=True):
        broken.update({index: (data.name(index), fault) for index, fault in faults})
        if progress is not None:
            progress(chunk.stop, total)
    return Verdict(total, broken, unaltered, None if broken else _refusal(path))


def _refusal(path: Path) -> str | None:
    """Open a set as training does, and return the message with which it is refused."""
    try:
        format_of(path).open(path)
    except DataError as error:
        return str(error)
    return None
