"""Parquet files with images in them, as data sets are published on the Hugging Face hub."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError, is_refused
from pipeline.formats.whole import unreadable
from pipeline.sources.class_names import listed
from pipeline.sources.encoded import EncodedImages, shards_fingerprint
from pipeline.sources.labels import same_type
from pipeline.sources.parquet_columns import class_names, columns, is_image, passed_over, types
from pipeline.sources.target_values import read_targets
from pipeline.targets import TargetKind

_MOST_BYTES = 256 << 20
"""Bytes of row groups kept unpacked; at least one is."""
_JPEG = b"\xff\xd8\xff"


class ParquetSource(EncodedImages):
    """Rows with an image, a struct of ``bytes`` and ``path`` or plain bytes, and a target.

    Row groups are unpacked on demand, and few are kept.

    Parameters
    ----------
    name, split
        See `Source`.
    shards
        The split's files, in order.
    others
        Files of other splits, whose labels are read if the files don't name the classes.
    kind
        What the targets are to be: classes, numbers or texts in a column called label or the like, or the
        only one of them; labels of which an image has several, a list each; values, numbers or lists of
        them; or none.

    Raises
    ------
    DataError
        When a file is damaged, or its columns are not of this kind.
    """

    def __init__(
        self,
        name: str,
        split: str,
        shards: Sequence[Path],
        others: Sequence[Path] = (),
        kind: TargetKind | None = None,
    ) -> None:
        self.name = name
        self.split = split
        self.kind = kind or "class"
        self.origin = f"Parquet {name} ({split}), {len(shards):,} files"
        self._shards = list(shards)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, pa.Array] = OrderedDict()
        schemas = [_schema(path) for path in self._shards]
        self._image, self._label = columns(self._shards[0], schemas[0], self.kind)
        names = (class_names(schema, self._label) for schema in schemas)
        classes = next((one for one in names if one is not None), None)
        _check_alike(self._shards, schemas, self._image, self._label, classes)
        # If files name their classes, other splits aren't read: those may be incomplete.
        unnamed = others if classes is None and self.kind in ("class", "multi_label") else ()
        elsewhere = [(path, schema) for path in unnamed if self._label in (schema := _schema(path)).names]
        if classes is None and self.kind == "class" and self._label is not None:
            same_type(types([*zip(self._shards, schemas, strict=True), *elsewhere], self._label), self.origin)
        found: list[Any] = []
        groups: list[tuple[int, int, int]] = []
        for number, path in enumerate(self._shards):
            labels, sizes = _labels(path, self._label)
            found += labels
            groups += [(number, group, size) for group, size in enumerate(sizes)]
        self._groups = [(number, group) for number, group, _ in groups]
        self._starts = np.cumsum([0, *[size for _, _, size in groups]])
        further = [label for path, _ in elsewhere for label in _labels(path, self._label)[0]]
        result = read_targets(self.kind, found, self.origin, classes, further, self.sample_name)
        self.labels, self.classes = result.labels, result.classes
        rivals = passed_over(schemas[0], self.kind, self._label)
        note = (
            f"targets of {self.origin} are the column {self._label}; {listed(rivals)} would do as well: call "
            "it label to take it"
        )
        self.notes = (*result.notes, note) if rivals else result.notes

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """Digest names, sizes and times of the files; see `Source.fingerprint`."""
        return shards_fingerprint(self._shards)

    def sample_name(self, index: int) -> str:
        """Return the file and the row of image ``index``, counted from 0."""
        place = int(np.searchsorted(self._starts, index, side="right")) - 1
        shard, group = self._groups[place]
        first = self._starts[place - group]
        return f"{self._shards[shard].name}:{index - first}"

    def _bytes(self, index: int) -> bytes:
        place = int(np.searchsorted(self._starts, index, side="right")) - 1
        value = self._group(place)[index - int(self._starts[place])].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None:
            path = value.get("path") if isinstance(value, dict) else None
            raise ValueError(f"the row holds no bytes, only the path {path}" if path else "the row is empty")
        return bytes(content)

    def _may_be_jpeg(self, index: int) -> bool:
        return self._bytes(index).startswith(_JPEG)

    def _group(self, place: int) -> pa.Array:
        # One at a time: waiting threads need the same row group, or would compete for the disk.
        with self._lock:
            if place not in self._kept:
                shard, group = self._groups[place]
                with _open(self._shards[shard]) as file:
                    self._kept[place] = file.read_row_group(group, [self._image]).column(0).combine_chunks()
                while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > _MOST_BYTES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(place)
            return self._kept[place]


def _open(path: Path) -> pq.ParquetFile:
    # Few writers store checksums; if they did, a changed byte is reported.
    return pq.ParquetFile(path, page_checksum_verification=True)


def _schema(path: Path) -> pa.Schema:
    try:
        with _open(path) as file:
            schema = file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"{path} must have columns with names of their own; two are called {twice}: rename one"
        )
    return schema


def _labels(path: Path, column: str | None) -> tuple[list[Any], list[int]]:
    """Return a file's targets (None each if there is no column), and the sizes of its row groups."""
    try:
        with _open(path) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            return [None] * sum(sizes) if column is None else file.read([column]).column(0).to_pylist(), sizes
    except UnicodeDecodeError as error:
        raise DataError(
            f"labels of {path} must be UTF-8 where they are texts; got {error}: write it again"
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _check_alike(
    shards: Sequence[Path],
    schemas: Sequence[pa.Schema],
    image: str,
    label: str | None,
    classes: list[str] | None,
) -> None:
    """Check that all files have the columns of the first, and name the classes as it does."""
    for path, schema in zip(shards, schemas, strict=True):
        wanted = [image] if label is None else [image, label]
        lacking = [name for name in wanted if name not in schema.names]
        if lacking:
            raise DataError(
                f"{path} must have the columns of {shards[0].name}, {' and '.join(wanted)}; it lacks "
                f"{' and '.join(lacking)} and has {', '.join(schema.names)}: write the files alike, or name "
                "those of one set by a pattern"
            )
        if not is_image(schema.field(image).type):
            raise DataError(
                f"{path} must have images in the column {image}, as {shards[0].name} has; it holds "
                f"{schema.field(image).type}: write the files alike"
            )
        names = class_names(schema, label)
        if names is not None and names != (classes or names):
            place = next(
                (at for at, pair in enumerate(zip(names, classes or (), strict=False)) if pair[0] != pair[1]),
                min(len(names), len(classes or ())),
            )
            raise DataError(
                f"{path} must number the classes of {label} as {shards[0].name} does; they differ from class "
                f"{place} on: write the files alike"
            )


def _damaged(path: Path, error: Exception) -> DataError:
    if is_refused(error):
        return unreadable(path, "a Parquet file", error)
    line = " ".join(str(error).split())
    return DataError(f"{path} must be a whole Parquet file; reading it gave: {line}: get it again")
