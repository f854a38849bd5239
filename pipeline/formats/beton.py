"""Reader of ``.beton`` files: ours and FFCV's own."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.formats import layout
from pipeline.formats.beton_writer import BetonWriter
from pipeline.formats.card import Card, card_path, read_card
from pipeline.formats.describe import describe
from pipeline.formats.samples import Samples
from pipeline.formats.structure import map_file, pick_fields, read_extras, read_structure, read_targets
from pipeline.formats.whole import remove_stale
from pipeline.modes import PIXELS, Mode
from pipeline.targets import CLASSES, LABEL, TargetSpec


@dataclass(frozen=True)
class BetonFormat:
    """FFCV's .beton: one file, read by index; images raw or JPEG; FFCV's own Loader reads it too."""

    def open(self, path: Path, *, lenient: bool = False) -> Beton:
        """Open a file for reading; see `Beton`."""
        return Beton(path, lenient=lenient)

    def create(
        self,
        path: Path,
        samples: int,
        *,
        levels: Sequence[int] = (),
        resume: bool = False,
        targets: TargetSpec = CLASSES,
        mode: Mode = "RGB",
    ) -> BetonWriter:
        """Start a file of at most ``samples`` images; see `BetonWriter`."""
        return BetonWriter(path, samples, levels=levels, resume=resume, targets=targets, mode=mode)

    def digest(self, path: Path) -> str:
        """Compute the file's SHA-256."""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def remove_stale(self, path: Path) -> None:
        """Remove what a killed or suspended writer of ``path`` left; see `pipeline.formats.Format`."""
        remove_stale(path)


class Beton(Samples):
    """A data set in one ``.beton`` file, mapped into memory.

    Opening checks the whole structure (pointers, sizes, shapes, targets), so that a reader which goes
    straight to ``data`` stays within the file. Pixels are read only on request.

    Targets are FFCV's field ``label`` (`pipeline.formats.layout` has its types): in files that FFCV wrote,
    integers are classes, floats and arrays of floats values, and arrays of truth values or integers, 0 and 1,
    labels of which an image may have several.

    Parameters
    ----------
    path
        The file; its card is read from beside it or else from within it, and made from the file if it has
        none.
    lenient
        Open also when single samples are broken, as `trainer verify` wants; see `fault`.
    level
        The level at which to return the samples; None for their full size. `at` does the same.

    Attributes
    ----------
    path, card
        The file and its description; heights and widths on the card are those of ``level``.
    levels
        Further sizes at which every image is stored, in pixels, ascending.
    targets
        By name, one row per sample; see `Samples`.
    labels, heights, widths
        int64[n]; sizes in pixels. Labels only where the targets are classes.
    compressed
        bool[n]: True for JPEG bytes, False for raw HWC pixels.
    offsets, sizes
        int64[n]: sample i is ``data[offsets[i]:offsets[i] + sizes[i]]``.
    shards, shard
        ``data`` alone, and int64[n] of zeros: a file is one shard (see `pipeline.engines.Dataset`).
    checksums
        uint32[n], CRC-32 of each sample's bytes; None in files that FFCV wrote.
    framed
        Whether targets, shapes, checksums, names and card are as written; None as above. False
        only where ``lenient``.
    data
        uint8, the whole file.

    Raises
    ------
    DataError
        When the file is missing, truncated, altered, or not a ``.beton`` of images and labels.
    CorruptSampleError
        When a sample points outside of the file or its label outside of the classes.
    """

    def __init__(self, path: Path | str, *, lenient: bool = False, level: int | None = None) -> None:
        self.path = Path(path)
        self.lenient = lenient
        self.level = level
        self.files = (map_file(self.path),)
        self.data: NDArray[np.uint8] = self.files[0].data
        header, fields, rows, allocations = read_structure(self.path, self.data)
        image, label, levels = pick_fields(self.path, fields)
        self.levels: tuple[int, ...] = tuple(levels)
        if level is not None and level not in levels:
            raise DataError(
                f"a level of {self.path} must be one that it holds: {self.levels}; got {level}: convert with "
                "--levels"
            )
        columns = rows[f"f{image if level is None else levels[level]}"]
        self.heights = columns["height"].astype(np.int64)
        self.widths = columns["width"].astype(np.int64)
        self.compressed = columns["mode"] == layout.JPEG_MODE
        pointers = columns["data_ptr"]
        order = np.argsort(allocations["ptr"])
        position = np.searchsorted(allocations["ptr"], pointers, sorter=order)
        nearest = allocations[order[np.minimum(position, len(order) - 1)]]
        allocated = nearest["ptr"] == pointers
        end = np.uint64(header["alloc_table_ptr"])
        within = (pointers <= end) & (nearest["size"] <= end - np.minimum(pointers, end))
        self.faults = {}
        self.targets = {}
        arrays = None
        if label is not None:
            column = rows[f"f{label}"]
            values, outside = read_targets(self.path, self.data, fields[label], column, int(end))
            self.targets = {LABEL: values}
            self.blame(outside, "has targets outside of the file")
            arrays = values if values.ndim == 2 else None
        self.blame((columns["mode"] > layout.RAW_MODE), "has a mode that is neither JPEG nor raw")
        self.blame(~allocated, "points to bytes that the allocation table doesn't know")
        self.blame(~within, f"points outside of the file's {self.data.size:,} bytes")
        self.offsets = np.where(within, pointers, 0).astype(np.int64)
        self.sizes = np.where(within & allocated, nearest["size"], 0).astype(np.int64)
        self.blame((self.heights == 0) | (self.widths == 0), "has no pixels")
        self.mode = (
            layout.mode_of(int(fields[image]["type_id"]), fields[image]["arguments"].tobytes()) or "RGB"
        )
        raw_size = self.heights * self.widths * PIXELS[self.mode].stride
        self.blame(
            ~self.compressed & (self.sizes != raw_size), "holds another number of bytes than its shape needs"
        )
        self.shards = (self.data,)
        self.shard = np.zeros(len(self.heights), np.int64)
        arguments = fields[image]["arguments"]
        self._extras = read_extras(self.path, self.data, arguments, rows, 1 + len(levels), arrays)
        self.checksums = None
        if self._extras is not None:
            self.checksums = self._extras.checksums[0 if level is None else 1 + self.levels.index(level)]
        self.card: Card = self._find_card()
        self.blame_targets(self.card.spec)
        if self.faults and not lenient:
            raise self.corrupt(min(self.faults), self.faults[min(self.faults)])
        self.framed = None if self._extras is None else self._extras.framed
        if self.framed is False and not lenient:
            raise DataError(
                f"{self.path} must hold its labels, shapes and card as they were written; they were altered: "
                "get or convert it again"
            )

    def __reduce__(self) -> tuple[Callable[[Path, bool, int | None], Beton], tuple[Path, bool, int | None]]:
        # A memory map would be pickled as its bytes; instead another process maps the file itself.
        return _reopen, (self.path, self.lenient, self.level)

    def at(self, level: int) -> Beton:
        """Return the same samples at one of ``levels``: of the size asked for, or smaller by nature.

        Raises
        ------
        DataError
            When the file holds no such level, or is another by now.
        """
        # First, because otherwise a replaced set's card would be reported as not belonging to these files.
        self.check_unchanged()
        return self.same_files(Beton(self.path, lenient=self.lenient, level=level))

    def name(self, index: int) -> str:
        """Name of sample ``index`` in its source ("airplane/0001.jpg"), or "sample 17" where not known."""
        index = self.checked(index)
        return self._names[index] if index < len(self._names) else f"sample {index}"

    @cached_property
    def _names(self) -> list[str]:
        if self._extras is None:
            return []
        try:
            packed = zlib.decompress(self.data[self._extras.names].tobytes())
        except zlib.error:
            # Names are for messages only, often about this very damage; numbers will do.
            return []
        # Names of files are bytes, and need not be UTF-8.
        names = packed.decode(errors="surrogateescape").split("\0")
        return names if len(names) == len(self) else []

    def _find_card(self) -> Card:
        card, within = read_card(self.path), None
        if self._extras is not None and self._extras.framed:
            within = Card.from_json(
                self.data[self._extras.card].tobytes().decode(errors="replace"), self.path
            )
        if card is not None and within is not None and not self.lenient:
            card.check_same(within, card_path(self.path))
        card = card or within
        if card is None:
            return describe(self)
        if card.samples != len(self):
            raise DataError(
                f"the card of {self.path} must describe its {len(self):,} samples; it describes "
                f"{card.samples:,}: delete the card to have one made from the file"
            )
        return card if self.level is None else card.of_sizes(self.heights, self.widths)


def _reopen(path: Path, lenient: bool, level: int | None) -> Beton:
    return Beton(path, lenient=lenient, level=level)
