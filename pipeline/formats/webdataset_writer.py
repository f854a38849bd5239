"""Writer of WebDataset shards that DALI's and webdataset's own readers read."""

from __future__ import annotations

import contextlib
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.formats import webdataset_layout as layout
from pipeline.formats.card import Card, card_path
from pipeline.formats.partial_folder import PartialFolder
from pipeline.formats.protocol import Sample, StoredImage
from pipeline.formats.webdataset_layout import Member
from pipeline.formats.webdataset_shard import ShardWriter, index_path, write_synced
from pipeline.formats.webdataset_table import digest_of
from pipeline.formats.whole import unwritable
from pipeline.modes import Mode
from pipeline.targets import CLASSES, TargetSpec


@dataclass(frozen=True, slots=True)
class _Part:
    """A file of a sample: an image, for one size or several that share it, or the target.

    Attributes
    ----------
    content, checksum
        The bytes after the header; no content if they are there already.
    rows
        Rows of the table: 0 for the full size, then the levels.
    """

    member: Member
    content: bytes | None
    checksum: int
    rows: list[int]


class WebDatasetWriter:
    """A folder of shards being written; see `pipeline.formats.Writer`.

    The bytes of every file depend only on the appended samples.

    Parameters
    ----------
    path
        The folder's final name.
    samples
        Maximum number of samples that will be appended.
    levels
        Further sizes of every sample, ascending.
    resume
        Keep the files that an earlier writer left, for `take_over`.
    shard_size
        Bytes of a shard, at most.
    targets
        Specification of the samples' targets; `pipeline.formats.webdataset_layout` has the files that hold
        them.
    mode
        Of the images.

    Raises
    ------
    DataError
        When there are no samples, the folder can't be written, another process is writing it, or something
        else than a WebDataset has its name.
    """

    def __init__(
        self,
        path: Path,
        samples: int,
        *,
        levels: Sequence[int] = (),
        resume: bool = False,
        shard_size: int = layout.SHARD_SIZE,
        targets: TargetSpec = CLASSES,
        mode: Mode = "RGB",
    ) -> None:
        if samples < 1:
            raise DataError(f"{path} must hold at least 1 sample; got none")
        _check_replaceable(path)
        self.path = path
        self._levels = tuple(levels)
        self._shard_size = shard_size
        self._spec = targets
        self._mode = mode
        self._targets = None if targets.kind == "none" else np.zeros((samples, *targets.row), targets.dtype)
        self._compressed = np.zeros(samples, np.bool_)
        self._columns = {
            name: np.zeros((1 + len(self._levels), samples), kind)
            for name, kind in (
                ("heights", np.int64),
                ("widths", np.int64),
                ("shard", np.int64),
                ("offsets", np.int64),
                ("sizes", np.int64),
                ("checksums", np.uint32),
            )
        }
        self._names: list[str] = []
        self._shards: list[str] = []
        self._sizes: list[int] = []
        self._shard: ShardWriter | None = None
        self._partial = PartialFolder(path, keep=resume)

    @property
    def locked(self) -> bool:
        """Whether a second writer is kept away; see `Writer.locked`."""
        return self._partial.locked

    def append(self, sample: Sample) -> None:
        """Add the next sample; see `Writer.append`."""
        self._add(sample, taken_over=False)

    def take_over(self, sample: Sample) -> bool:
        """Record the next sample, whose bytes an earlier writer left; see `Writer.take_over`."""
        return self._add(sample, taken_over=True)

    def flush(self) -> None:
        """Flush everything appended so far to the operating system, so that a kill doesn't lose it."""
        if self._shard is not None:
            try:
                self._shard.file.flush()
            except OSError as error:
                raise unwritable(self.path, error) from None

    def suspend(self) -> None:
        """Close, and keep the written files for a writer with ``resume``."""
        self.flush()
        self._close_shard()
        self._partial.suspend()

    def finish(self, card: Card) -> Card:
        """Write the last index and the table, sync to disk, and return the card with the data's digest."""
        samples = len(self._names)
        if samples != card.samples:
            raise AssertionError(f"{samples} samples were appended; the card counts {card.samples}")
        try:
            self._end_shard()
            # Without digest and version: the digest can't be known within, the version would change the
            # bytes.
            text = json.dumps(json.loads(replace(card, digest=None, created_by="").to_json()))
            newest = self._spec.kind != "class" or self._mode != "RGB"
            labels = {} if self._targets is None else {"labels": self._targets[:samples]}
            arrays: dict[str, NDArray[Any]] = {
                "schema": np.array(layout.TABLE_SCHEMA if newest else layout.CLASS_TABLE_SCHEMA),
                "levels": np.array(self._levels, np.int64),
                "shards": np.array(self._shards),
                "shard_sizes": np.array(self._sizes, np.int64),
                **labels,
                "compressed": self._compressed[:samples],
                **{name: column[:, :samples] for name, column in self._columns.items()},
                "names": _as_bytes(zlib.compress("\0".join(self._names).encode(errors="surrogateescape"))),
                "card": _as_bytes(text.encode()),
            }
            table = io.BytesIO()
            np.savez(table, allow_pickle=False, **arrays)
            write_synced(self._partial.folder / layout.TABLE, table.getvalue())
            kept = {layout.TABLE, *self._shards, *(index_path(Path(shard)).name for shard in self._shards)}
            for entry in self._partial.folder.iterdir():
                # Shards that an earlier writer began further on, and its card.
                if entry.name not in kept:
                    entry.unlink()
            return card.stamped(digest_of(self._partial.folder))
        except OSError as error:
            raise unwritable(self.path, error) from None

    def publish(self, card: Card) -> None:
        """Rename the finished folder, with its card in it, to its final name."""
        try:
            _check_replaceable(self.path)
            write_synced(self._partial.folder / card_path(self.path).name, card.to_json().encode())
            self._partial.publish()
        except OSError as error:
            raise unwritable(self.path, error) from None

    def __enter__(self) -> WebDatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_shard()
        self._partial.discard()

    def _add(self, sample: Sample, *, taken_over: bool) -> bool:
        """Record the next sample and write it, or if ``taken_over`` return whether it is there."""
        index, whole = len(self._names), True
        parts = self._parts(index, sample)
        try:
            shard = self._room_for(sum(part.member.length for part in parts))
            shard.begin_sample()
            for part in parts:
                if taken_over:
                    offset, sound = shard.take_over(part.member, part.checksum)
                    whole = whole and sound
                else:
                    assert part.content is not None
                    offset = shard.append(part.member, part.content)
                for row in part.rows:
                    self._enter(row, index, sample.images[row], offset)
        except OSError as error:
            raise unwritable(self.path, error) from None
        if self._targets is not None:
            self._targets[index] = sample.target
        self._compressed[index] = sample.compressed
        self._names.append(sample.name)
        return whole

    def _parts(self, index: int, sample: Sample) -> list[_Part]:
        """Return the files of a sample, in order."""
        full = sample.images[0]
        parts: list[_Part] = []
        for row, (level, image) in enumerate(zip((None, *self._levels), sample.images, strict=True)):
            if row and (image.height, image.width) == (full.height, full.width):
                parts[0].rows.append(row)
                continue
            member = layout.image_member(
                index,
                level,
                image.height,
                image.width,
                image.size,
                raw=not sample.compressed,
                mode=self._mode,
            )
            parts.append(_Part(member, image.content, image.checksum, [row]))
        mark = layout.target_member(index, self._spec, sample.target)
        return parts if mark is None else [*parts, _Part(mark, b"", zlib.crc32(b""), [])]

    def _enter(self, row: int, index: int, image: StoredImage, offset: int) -> None:
        for column, value in (
            ("heights", image.height),
            ("widths", image.width),
            ("shard", len(self._shards) - 1),
            ("offsets", offset),
            ("sizes", image.size),
            ("checksums", image.checksum),
        ):
            self._columns[column][row, index] = value

    def _room_for(self, length: int) -> ShardWriter:
        """Return the shard for the next sample, a new one if the current would become too large."""
        if self._shard is not None and layout.ended(self._shard.size + length) > self._shard_size:
            self._end_shard()
        if self._shard is None:
            name = f"{self.path.stem}-{len(self._shards):06}.tar"
            self._shard = ShardWriter(self._partial.folder / name)
            self._shards.append(name)
        return self._shard

    def _end_shard(self) -> None:
        if self._shard is not None:
            self._sizes.append(self._shard.end())
            self._shard = None

    def _close_shard(self) -> None:
        if self._shard is not None:
            # After a failed write the buffer is flushed, and fails, once more.
            with contextlib.suppress(OSError):
                self._shard.file.close()
            self._shard = None


def _check_replaceable(path: Path) -> None:
    """Check that a folder to be replaced, and so removed, holds only a WebDataset."""
    if path.suffix != ".wds":
        raise DataError(f"a WebDataset folder to write must end in .wds; got {path}: give it such a name")
    if not path.exists():
        return
    others = [path] if not path.is_dir() else [entry for entry in path.iterdir() if not _is_ours(entry)]
    if others:
        raise DataError(
            f"{path} must be a WebDataset and nothing else to be replaced; there is {min(others)}: move that "
            "away, or give another name"
        )


def _is_ours(entry: Path) -> bool:
    return entry.suffix in (".tar", ".idx") or entry.name in (layout.TABLE, "card.json")


def _as_bytes(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)
