"""Parquet files with images in them, as data sets are published on the Hugging Face hub."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.sources.encoded import EncodedImages, shards_fingerprint
from pipeline.sources.labels import numbered

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
        self.notes: tuple[str, ...] = ()
        self._shards = list(shards)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, pa.Array] = OrderedDict()
        self._image, self._label, classes = _columns(self._shards[0], _schema(self._shards[0]))
        found: list[Any] = []
        groups: list[tuple[int, int, int]] = []
        for number, path in enumerate(self._shards):
            labels, sizes = _labels(path, self._label)
            found += labels
            groups += [(number, group, size) for group, size in enumerate(sizes)]
        missing = next((row for row, label in enumerate(found) if label is None), None)
        if missing is not None:
            raise DataError(f"every row of {self.origin} must have a label; row {missing} has none")
        self.labels, self.classes = numbered(
            found or np.zeros(0, np.int64),
            self.origin,
            classes,
            _elsewhere(others, self._label) if classes is None else (),
        )
        self._groups = [(number, group) for number, group, _ in groups]
        self._starts = np.cumsum([0, *[size for _, _, size in groups]])

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
                with pq.ParquetFile(self._shards[shard]) as file:
                    self._kept[place] = file.read_row_group(group, [self._image]).column(0).combine_chunks()
                while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > _MOST_BYTES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(place)
            return self._kept[place]


def _schema(path: Path) -> pa.Schema:
    try:
        with pq.ParquetFile(path) as file:
            return file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _labels(path: Path, column: str) -> tuple[list[Any], list[int]]:
    """Read a file's labels, and the sizes of its row groups."""
    try:
        with pq.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            return file.read([column]).column(0).to_pylist(), sizes
    except (pa.ArrowException, OSError, KeyError, IndexError) as error:
        raise _damaged(path, error) from None


def _elsewhere(others: Sequence[Path], column: str) -> list[int | str]:
    """Read the labels of other splits, which may have none: tests are often published without."""
    there = [path for path in others if column in _schema(path).names]
    found = [label for path in there for label in _labels(path, column)[0]]
    return [label for label in found if isinstance(label, int | str)]


def _columns(path: Path, schema: pa.Schema) -> tuple[str, str, list[str] | None]:
    """Choose the column of images and that of labels, and find the names of the classes."""
    features = _features(schema)
    images = [field.name for field in schema if _is_image(field.type)]
    classes = [name for name, feature in features.items() if feature.get("_type") == "ClassLabel"]
    plain = [field.name for field in schema if pa.types.is_integer(field.type) or _is_text(field.type)]
    labels = [name for name in classes if name in plain] or plain
    label = next((name for name in _LABELS if name in labels), labels[0] if len(labels) == 1 else None)
    only = images[0] if len(images) == 1 else None
    image = next((name for name in ("image", "img") if name in images), only)
    if image is None or label is None:
        raise DataError(
            f"{path} must have a column of images (a struct of bytes and path, or bytes) called image, and "
            f"one of labels (whole numbers or texts) called label; its columns are "
            + ", ".join(f"{field.name} ({field.type})" for field in schema)
        )
    return image, label, features.get(label, {}).get("names")


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """Read what the hub's library says of the columns, where it says anything."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_bytes(field.type) for field in kind.fields)
    return bool(_is_bytes(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _damaged(path: Path, error: Exception) -> DataError:
    line = " ".join(str(error).split())
    return DataError(f"{path} must be a whole Parquet file; reading it gave: {line}: get it again")
