"""Parquet files with images in them, as data sets are published on the Hugging Face hub."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError, is_refused
from pipeline.formats.whole import unreadable
from pipeline.sources.encoded import EncodedImages, shards_fingerprint
from pipeline.sources.labels import numbered, same_type

_LABELS = ("label", "labels", "class", "target", "fine_label")
_MOST_BYTES = 256 << 20
"""Of row groups that are kept unpacked; at least one is."""
_JPEG = b"\xff\xd8\xff"


class ParquetSource(EncodedImages):
    """Rows with an image, a struct of ``bytes`` and ``path`` or plain bytes, and a label.

    Row groups are unpacked one by one, as rows of them are asked for, and few are kept.

    Parameters
    ----------
    name, split
        See `Source`.
    shards
        The files, in order.
    others
        Those of other splits, whose labels are read where the files don't name the classes.

    Raises
    ------
    DataError
        When a file is damaged, or its columns are not of this kind.
    """

    def __init__(self, name: str, split: str, shards: Sequence[Path], others: Sequence[Path] = ()) -> None:
        self.name = name
        self.split = split
        self.origin = f"Parquet {name} ({split}), {len(shards):,} files"
        self._shards = list(shards)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, pa.Array] = OrderedDict()
        schemas = [_schema(path) for path in self._shards]
        self._image, self._label = _columns(self._shards[0], schemas[0])
        names = (_class_names(schema, self._label) for schema in schemas)
        classes = next((one for one in names if one is not None), None)
        _check_alike(self._shards, schemas, self._image, self._label, classes)
        # Files that name their classes are read for no others: those may not even be whole.
        unnamed = others if classes is None else ()
        elsewhere = [(path, schema) for path in unnamed if self._label in (schema := _schema(path)).names]
        if classes is None:
            same_type(
                _types([*zip(self._shards, schemas, strict=True), *elsewhere], self._label), self.origin
            )
        found: list[Any] = []
        groups: list[tuple[int, int, int]] = []
        for number, path in enumerate(self._shards):
            labels, sizes = _labels(path, self._label)
            found += labels
            groups += [(number, group, size) for group, size in enumerate(sizes)]
        self._groups = [(number, group) for number, group, _ in groups]
        self._starts = np.cumsum([0, *[size for _, _, size in groups]])
        further = [label for path, _ in elsewhere for label in _labels(path, self._label)[0]]
        result = numbered(found, self.origin, classes, further, self.sample_name)
        self.labels, self.classes, self.notes = result.labels, result.classes, result.notes

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """Digest names, sizes and times of the files; see `Source.fingerprint`."""
        return shards_fingerprint(self._shards)

    def sample_name(self, index: int) -> str:
        """Give the file and the row of image ``index``, counted from 0."""
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
        # One at a time: threads that wait here wait for the same row group, or would fight for the disk.
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
    # Few writers put checksums in; where they did, a changed byte is told of.
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


def _labels(path: Path, column: str) -> tuple[list[Any], list[int]]:
    """Read a file's labels, and the sizes of its row groups."""
    try:
        with _open(path) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            return file.read([column]).column(0).to_pylist(), sizes
    except UnicodeDecodeError as error:
        raise DataError(
            f"labels of {path} must be UTF-8 where they are texts; got {error}: write it anew"
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _check_alike(
    shards: Sequence[Path], schemas: Sequence[pa.Schema], image: str, label: str, classes: list[str] | None
) -> None:
    """Check that all files have the columns of the first, and name the classes as it does."""
    for path, schema in zip(shards, schemas, strict=True):
        lacking = [name for name in (image, label) if name not in schema.names]
        if lacking:
            raise DataError(
                f"{path} must have the columns of {shards[0].name}, {image} and {label}; it lacks "
                f"{' and '.join(lacking)} and has {', '.join(schema.names)}: write the files alike, or name "
                "those of one set by a pattern"
            )
        if not _is_image(schema.field(image).type):
            raise DataError(
                f"{path} must have images in the column {image}, as {shards[0].name} has; it holds "
                f"{schema.field(image).type}: write the files alike"
            )
        names = _class_names(schema, label)
        if names is not None and names != (classes or names):
            place = next(
                (at for at, pair in enumerate(zip(names, classes or (), strict=False)) if pair[0] != pair[1]),
                min(len(names), len(classes or ())),
            )
            raise DataError(
                f"{path} must number the classes of {label} as {shards[0].name} does; they differ from class "
                f"{place} on: write the files alike"
            )


def _types(files: Iterable[tuple[Path, pa.Schema]], label: str) -> Iterator[tuple[str, str]]:
    """Give each file's name and the type of its labels; one of nulls alone has none."""
    for path, schema in files:
        kind = _values(schema.field(label).type)
        if not pa.types.is_null(kind):
            text = _is_text(kind) or _is_bytes(kind)
            yield path.name, "numbers" if _is_number(kind) else "texts" if text else str(kind)


def _columns(path: Path, schema: pa.Schema) -> tuple[str, str]:
    """Choose the column of images and that of labels."""
    named = [field.name for field in schema if _class_names(schema, field.name) is not None]
    images = [field.name for field in schema if _is_image(field.type)]
    plain = [field.name for field in schema if _is_integer(field.type) or _is_text(field.type)]
    # Floats, truth values and bytes may be anything: they are labels only where they are called so.
    called = [name for name in _LABELS if name in schema.names and _is_label(schema.field(name).type)]
    labels = named or called or plain
    label = next((name for name in _LABELS if name in labels), labels[0] if len(labels) == 1 else None)
    pictures = [name for name in images if name != label]
    only = pictures[0] if len(pictures) == 1 else None
    image = next((name for name in ("image", "img") if name in pictures), only)
    if image is None or label is None:
        raise DataError(
            f"{path} must have a column of images (a struct of bytes and path, or bytes) called image, and "
            f"one of labels (whole numbers or texts) called label; its columns are "
            + ", ".join(f"{field.name} ({field.type})" for field in schema)
        )
    return image, label


def _class_names(schema: pa.Schema, label: str) -> list[str] | None:
    """Find the names that the hub's library keeps of a column's classes; None where it keeps none."""
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][label]
        names = feature["names"] if feature["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    if not isinstance(names, list) or not names or not _is_integer(schema.field(label).type):
        return None
    return [str(name) for name in names]


def _values(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column's values: of categories, what they are categories of."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_image(kind: pa.DataType) -> bool:
    kind = _values(kind)
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_bytes(_values(field.type)) for field in kind.fields)
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return any(
        check(kind) for check in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    )


def _is_text(kind: pa.DataType) -> bool:
    kind = _values(kind)
    return any(
        check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _is_integer(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(_values(kind)))


def _is_number(kind: pa.DataType) -> bool:
    kind = _values(kind)
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(check(kind) for check in kinds)


def _is_label(kind: pa.DataType) -> bool:
    kind = _values(kind)
    # Lists may be one-hot rows, or hold one label each.
    inner = kind.value_type if _is_list(kind) else kind
    return _is_number(inner) or _is_text(inner) or _is_bytes(kind)


def _is_list(kind: pa.DataType) -> bool:
    return any(
        check(kind) for check in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    )


def _damaged(path: Path, error: Exception) -> DataError:
    if is_refused(error):
        return unreadable(path, "a Parquet file", error)
    line = " ".join(str(error).split())
    return DataError(f"{path} must be a whole Parquet file; reading it gave: {line}: get it again")
