"""Writer of ``.beton`` files that FFCV's own Loader reads."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from pipeline.errors import DataError
from pipeline.formats import layout
from pipeline.formats.card import Card, card_path, write_card
from pipeline.formats.protocol import Sample
from pipeline.formats.structure import frame_checksum
from pipeline.formats.whole import PartialFile, partial_path, unwritable
from pipeline.modes import Mode
from pipeline.targets import CLASSES, TargetSpec

_WRITTEN_AT_ONCE = 1 << 20
"""Bytes written per call: images of several runs lie far apart, and small ones are written together."""


class BetonWriter:
    """A file being written: `append` every sample, `finish`, then `publish`; see `pipeline.formats.Writer`.

    Nothing stands under the final name before `publish`; leaving the ``with`` block earlier removes what was
    written. The bytes depend only on the appended samples.

    Parameters
    ----------
    path
        The final name.
    samples
        Maximum number of samples that will be appended.
    levels
        Further sizes of every sample, ascending; each becomes an image field of its own.
    resume
        Keep the bytes that an earlier writer left, for `take_over`.
    targets
        Specification of the samples' targets; see `pipeline.formats.layout` for the fields that hold them.
    mode
        Of the images.

    Raises
    ------
    DataError
        When there are no samples, the file can't be written, or another process is writing it.
    """

    def __init__(
        self,
        path: Path,
        samples: int,
        *,
        levels: Sequence[int] = (),
        resume: bool = False,
        targets: TargetSpec = CLASSES,
        mode: Mode = "RGB",
    ) -> None:
        if samples < 1:
            raise DataError(f"{path} must hold at least 1 sample; got none")
        if path.is_dir():
            raise DataError(f"the file to write must not be a folder; got {path}")
        self.path = path
        # The label comes before the levels, so that every file of ours begins alike.
        label = layout.label_type(targets)
        image_type = layout.image_type(mode)
        types = [image_type, *[image_type for _ in levels]]
        names = [b"image", *[layout.level_name(level).encode() for level in levels]]
        if label is not None:
            types.insert(1, label)
            names.insert(1, b"label")
        self._fields = np.zeros(len(types), layout.FIELD)
        self._fields["type_id"] = types
        self._fields["name"] = names
        self._targets = targets
        self._target_rows: list[bytes] | None = None
        if label == layout.NDARRAY_TYPE:
            self._target_rows = []
            arguments = layout.array_arguments(targets.dtype, targets.row)
            self._fields["arguments"][1] = arguments.ljust(layout.FIELD["arguments"].itemsize, b"\0")
        self._images = [number for number, kind in enumerate(types) if kind == image_type]
        self._mode = mode
        if mode != "RGB":
            self._fields["arguments"][self._images] = layout.image_arguments(mode)
        self._rows = np.zeros(samples, layout.metadata_type(types))
        runs = len(self._images) + (self._target_rows is not None)
        self._allocations = np.zeros(samples * runs, layout.ALLOCATION)
        self._allocated = 0
        self._checksums = np.zeros((len(self._images), samples), "<u4")
        self._names: list[str] = []
        start = layout.HEADER.itemsize + self._fields.nbytes + self._rows.nbytes
        self._pages = layout.Pages(start, runs)
        self._waiting: list[tuple[int, bytearray]] = [(0, bytearray()) for _ in range(runs)]
        if resume and path.exists() and not partial_path(path).exists():
            self._take_card_back()
        self._partial = PartialFile(path, keep=resume)

    @property
    def locked(self) -> bool:
        """Whether a second writer is kept away; see `Writer.locked`."""
        return self._partial.locked

    def append(self, sample: Sample) -> None:
        """Add the next sample; see `Writer.append`."""
        offsets = self._place(sample)
        for run, (image, place) in enumerate(zip(sample.images, offsets, strict=True)):
            if run == 0 or place != offsets[0]:
                assert image.content is not None
                self._write(run, place, image.content)

    def take_over(self, sample: Sample) -> bool:
        """Record the next sample, whose bytes an earlier writer left; see `Writer.take_over`."""
        for image, place in zip(sample.images, self._place(sample), strict=True):
            try:
                self._partial.file.seek(place)
                content = self._partial.file.read(image.size)
            except OSError as error:
                raise unwritable(self.path, error) from None
            if len(content) != image.size or zlib.crc32(content) != image.checksum:
                return False
        return True

    def flush(self) -> None:
        """Flush everything appended so far to the operating system, so that a kill doesn't lose it."""
        for run in range(len(self._waiting)):
            self._write_out(run)
        try:
            self._partial.file.flush()
        except OSError as error:
            raise unwritable(self.path, error) from None

    def suspend(self) -> None:
        """Close, and keep the written bytes for a writer with ``resume``."""
        if not self._partial.file.closed:
            self.flush()
            self._partial.suspend()

    def finish(self, card: Card) -> Card:
        """Write header, metadata and extras, sync to disk, and return the card with the file's digest."""
        samples = len(self._names)
        if samples != card.samples:
            raise AssertionError(f"{samples} samples were appended; the card counts {card.samples}")
        rows, checksums = self._rows[:samples].tobytes(), self._checksums[:, :samples].tobytes()
        names = zlib.compress("\0".join(self._names).encode(errors="surrogateescape"))
        # Without digest and version: the digest can't be known within, the version would change the bytes.
        text = json.dumps(json.loads(replace(card, digest=None, created_by="").to_json())).encode()
        extras = np.zeros((), layout.EXTRAS)
        extras["magic"], extras["schema"] = layout.MAGIC, layout.EXTRAS_SCHEMA
        position = self._pages.used
        extras["checksums_ptr"] = position
        extras["names_ptr"], extras["names_size"] = position + len(checksums), len(names)
        extras["card_ptr"], extras["card_size"] = position + len(checksums) + len(names), len(text)
        extras["frame_checksum"] = frame_checksum(rows, *(self._target_rows or ()), checksums, names, text)
        for run in range(len(self._waiting)):
            self._write_out(run)
        self._write_now(position, checksums + names + text)
        self._fields["arguments"][0] = layout.image_arguments(self._mode, extras.tobytes())
        header = np.zeros((), layout.HEADER)
        header["version"], header["num_fields"] = layout.VERSION, len(self._fields)
        header["page_size"], header["num_samples"] = self._pages.size, samples
        table = layout.aligned(position + len(checksums) + len(names) + len(text), 8)
        header["alloc_table_ptr"] = table
        allocations = self._allocations[: self._allocated].tobytes()
        self._write_now(table, allocations)
        self._write_now(0, header.tobytes() + self._fields.tobytes() + rows)
        try:
            self._partial.file.truncate(table + len(allocations))
            self._partial.sync()
            self._partial.file.seek(0)
            return card.stamped(hashlib.file_digest(self._partial.file, "sha256").hexdigest())
        except OSError as error:
            raise unwritable(self.path, error) from None

    def publish(self, card: Card) -> None:
        """Rename the finished file to its final name, and put its card beside it."""
        try:
            # Between the two renames the file has its own card within; an older one beside it would be wrong.
            card_path(self.path).unlink(missing_ok=True)
            self._partial.publish()
        except OSError as error:
            raise unwritable(self.path, error) from None
        write_card(self.path, card)

    def __enter__(self) -> BetonWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._partial.discard()

    def _take_card_back(self) -> None:
        """Remove the card of a file that is taken back, so that it isn't orphaned if this writer stops."""
        try:
            card_path(self.path).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(card_path(self.path), error) from None

    def _place(self, sample: Sample) -> list[int]:
        """Record the next sample, and return the offset of each of its images."""
        full = sample.images[0]
        if max(full.height, full.width) > layout.LARGEST_SIDE or full.size > layout.LARGEST_PAGE_SIZE:
            raise DataError(
                f"an image must have at most {layout.LARGEST_SIDE:,} pixels a side and "
                f"{layout.LARGEST_PAGE_SIZE:,} bytes; {sample.name} has {full.height:,}x{full.width:,} "
                f"pixels and {full.size:,} bytes: give a max_resolution"
            )
        index, row = len(self._names), self._rows[len(self._names)]
        mode = layout.JPEG_MODE if sample.compressed else layout.RAW_MODE
        offsets: list[int] = []
        for run, image in enumerate(sample.images):
            shared = run > 0 and (image.height, image.width) == (full.height, full.width)
            place = offsets[0] if shared else self._pages.place(run, image.size)
            if not shared:
                self._allocations[self._allocated] = index, place, image.size
                self._allocated += 1
            row[f"f{self._images[run]}"] = mode, image.width, image.height, place
            self._checksums[run, index] = image.checksum
            offsets.append(place)
        if self._target_rows is not None:
            # Those that a killed writer left are written again: they are in memory, and few.
            content = np.asarray(sample.target, self._targets.dtype).tobytes()
            place = self._pages.place(len(self._images), len(content))
            self._allocations[self._allocated] = index, place, len(content)
            self._allocated += 1
            self._target_rows.append(content)
            self._write(len(self._images), place, content)
            row["f1"] = place
        elif self._targets.kind != "none":
            row["f1"] = sample.target
        self._names.append(sample.name)
        return offsets

    def _write(self, run: int, position: int, content: bytes) -> None:
        """Append to a run, writing it in larger pieces."""
        start, waiting = self._waiting[run]
        if position != start + len(waiting) or len(waiting) > _WRITTEN_AT_ONCE:
            self._write_out(run)
            start, waiting = position, bytearray()
            self._waiting[run] = start, waiting
        waiting += content

    def _write_out(self, run: int) -> None:
        start, waiting = self._waiting[run]
        if waiting:
            self._write_now(start, waiting)
            self._waiting[run] = start + len(waiting), bytearray()

    def _write_now(self, position: int, content: bytes | bytearray) -> None:
        try:
            self._partial.file.seek(position)
            self._partial.file.write(content)
        except OSError as error:
            raise unwritable(self.path, error) from None
