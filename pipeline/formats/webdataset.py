"""Reader of WebDataset folders: tar shards, ours with a table of where everything is, or anybody's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import DataError
from pipeline.formats import webdataset_layout as layout
from pipeline.formats.card import Card, card_path, read_card
from pipeline.formats.describe import describe
from pipeline.formats.mapped import MappedFile
from pipeline.formats.partial_folder import remove_stale_folder
from pipeline.formats.samples import Samples
from pipeline.formats.webdataset_scan import gather_table
from pipeline.formats.webdataset_table import Table, check_keys, digest_of, read_table
from pipeline.formats.webdataset_writer import WebDatasetWriter
from pipeline.formats.whole import unreadable
from pipeline.modes import PIXELS, Mode
from pipeline.targets import CLASSES, LABEL, TargetSpec


@dataclass(frozen=True)
class WebDatasetFormat:
    """WebDataset: a folder of tar shards with DALI's indices; DALI and webdataset read it by themselves."""

    shard_size: int = layout.SHARD_SIZE
    """Bytes of a shard, at most."""

    def open(self, path: Path, *, lenient: bool = False) -> WebDataset:
        """Open a folder for reading; see `WebDataset`."""
        return WebDataset(path, lenient=lenient)

    def create(
        self,
        path: Path,
        samples: int,
        *,
        levels: Sequence[int] = (),
        resume: bool = False,
        targets: TargetSpec = CLASSES,
        mode: Mode = "RGB",
    ) -> WebDatasetWriter:
        """Start a folder of at most ``samples`` images; see `WebDatasetWriter`."""
        return WebDatasetWriter(
            path,
            samples,
            levels=levels,
            resume=resume,
            shard_size=self.shard_size,
            targets=targets,
            mode=mode,
        )

    def digest(self, path: Path) -> str:
        """Compute the SHA-256 of the folder's shards, indices and table."""
        return digest_of(path)

    def remove_stale(self, path: Path) -> None:
        """Remove what a killed or suspended writer of ``path`` left; see `pipeline.formats.Format`."""
        remove_stale_folder(path)


class WebDataset(Samples):
    """A data set in a folder of tar shards, mapped into memory.

    A folder of ours is opened by its table. Of any other the shards are looked through, which takes about a
    minute a million samples: ``.jpg`` and binary ``.ppm`` images with a class number in ``.cls``, or labels
    or values in ``.npy``; the index beside a shard, where there is one, must agree with it.

    Opening checks the whole structure (offsets, sizes, shapes, targets), so that a reader which goes straight
    to ``shards`` stays within the files. Pixels are read only on request.

    Parameters
    ----------
    path
        The folder; its card is looked for in it, then in its table, and else made from the shards.
    lenient
        Open also when single samples are broken, as `trainer verify` wants; see `fault`.
    level
        The level at which to return the samples; None for their full size. `at` does the same.

    Attributes
    ----------
    path, card
        The folder and its description; heights and widths on the card are those of ``level``.
    levels
        Further sizes at which every image is stored, in pixels, ascending.
    framed
        True where a table of ours was found sound, else None.

    Raises
    ------
    DataError
        When the folder is missing or empty, or a shard is missing, truncated, or at odds with table or index.
    CorruptSampleError
        When a sample isn't an image, or its label lies outside of the classes.
    """

    def __init__(self, path: Path | str, *, lenient: bool = False, level: int | None = None) -> None:
        self.path = Path(path)
        self.lenient = lenient
        self.level = level
        self.mode = "RGB"
        entries = _entries(self.path)
        table = read_table(self.path)
        if table is not None:
            self.files = tuple(_map(self.path / name) for name in table.shards)
            self.shards = tuple(file.data for file in self.files)
            self.mode = _mode(table, self.path)
            check_keys(self.path, table, self.shards, self.mode)
        else:
            names = sorted(entry.name for entry in entries if entry.suffix == ".tar")
            self.files = tuple(_map(self.path / name) for name in names)
            self.shards = tuple(file.data for file in self.files)
            card = read_card(self.path)
            unlabeled = card is not None and card.target == "none"
            table = gather_table(self.path, list(zip(names, self.shards, strict=True)), unlabeled=unlabeled)
        self.levels = table.levels
        if level is not None and level not in self.levels:
            raise DataError(
                f"a level of {self.path} must be one that it holds: {self.levels}; got {level}: convert with "
                "--levels"
            )
        self._fill(table, 0 if level is None else 1 + self.levels.index(level))
        self.framed: bool | None = None if table.card is None else True
        self.card: Card = self._find_card(table)
        self.blame_targets(self.card.spec)
        if self.faults and not lenient:
            raise self.corrupt(min(self.faults), self.faults[min(self.faults)])

    def __reduce__(
        self,
    ) -> tuple[Callable[[Path, bool, int | None], WebDataset], tuple[Path, bool, int | None]]:
        # A memory map would be pickled as its bytes; instead another process maps the files itself.
        return _reopen, (self.path, self.lenient, self.level)

    def at(self, level: int) -> WebDataset:
        """Return the same samples at one of ``levels``: of the size asked for, or smaller by nature.

        Raises
        ------
        DataError
            When the folder holds no such level, or other shards by now.
        """
        # First, because otherwise a replaced set's card would be reported as not belonging to these files.
        self.check_unchanged()
        return self.same_files(WebDataset(self.path, lenient=self.lenient, level=level))

    def name(self, index: int) -> str:
        """Name of sample ``index`` in its source, or in its shard where that is all there is."""
        return self._names[self.checked(index)]

    def _fill(self, table: Table, row: int) -> None:
        self.targets = {} if table.targets is None else {LABEL: table.targets}
        self.compressed = table.compressed
        self.heights, self.widths, self.shard, self.offsets, self.sizes = (
            np.ascontiguousarray(table.columns[name][row])
            for name in ("heights", "widths", "shard", "offsets", "sizes")
        )
        self.checksums = None if table.checksums is None else np.ascontiguousarray(table.checksums[row])
        self._names = table.names
        self.faults = dict(table.faults)
        within = (self.shard >= 0) & (self.shard < len(self.shards))
        lengths = np.array([shard.size for shard in self.shards])[np.where(within, self.shard, 0)]
        within &= (self.offsets >= 0) & (self.sizes >= 0) & (self.sizes <= lengths)
        within &= self.offsets <= lengths - np.minimum(self.sizes, lengths)
        self.blame(~within, "points outside of its shard")
        self.blame((self.heights < 1) | (self.widths < 1), "has no pixels")
        self.blame(
            ~self.compressed & (self.sizes != self.heights * self.widths * PIXELS[self.mode].stride),
            "holds another number of bytes than its shape needs",
        )
        # So that also of a broken sample something can be read.
        self.offsets = np.where(within, self.offsets, 0)
        self.sizes = np.where(within, self.sizes, 0)
        self.shard = np.where(within, self.shard, 0)

    def _find_card(self, table: Table) -> Card:
        card, within = read_card(self.path), None
        if table.card is not None:
            within = Card.from_json(table.card, self.path / layout.TABLE)
        found = card or within
        if found is None:
            return describe(self)
        if found.samples != len(self):
            raise DataError(
                f"the card of {self.path} must describe its {len(self):,} samples; it describes "
                f"{found.samples:,}: delete the card to have one made from the shards"
            )
        if card is not None and within is not None and not self.lenient:
            card.check_same(within, card_path(self.path))
        return found if self.level is None else found.of_sizes(self.heights, self.widths)


def _mode(table: Table, path: Path) -> Mode:
    """Return the mode of the images of a table of ours, which is on the card in it."""
    return "RGB" if table.card is None else Card.from_json(table.card, path / layout.TABLE).mode


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{folder} must be a folder of tar shards; make one with `trainer convert SOURCE {folder}`"
        ) from None
    except OSError as error:
        raise unreadable(folder, "a folder of tar shards", error) from None


def _map(path: Path) -> MappedFile:
    try:
        return MappedFile(path)
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise unreadable(path, "a tar file", error) from None


def _reopen(path: Path, lenient: bool, level: int | None) -> WebDataset:
    return WebDataset(path, lenient=lenient, level=level)
