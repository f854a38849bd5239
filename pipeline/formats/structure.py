"""Location and validation of the parts of a ``.beton`` file, before samples are looked up."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.formats import layout
from pipeline.formats.mapped import MappedFile
from pipeline.formats.whole import unreadable
from pipeline.modes import Mode

_AGAIN = "get or convert it again"


_LABELS = (layout.INT_TYPE, layout.FLOAT_TYPE, layout.NDARRAY_TYPE, layout.TENSOR_TYPE)
"""Types of fields that may hold the label."""
_IMAGES = (layout.IMAGE_TYPE, layout.GRAY_TYPE)
_GATHERED = 1 << 24
"""Bytes of targets gathered at a time, whose indices take eight times as much."""


@dataclass(frozen=True, slots=True)
class Extras:
    """Contents of our files besides FFCV's own parts; checksums are uint32[1 + levels, samples]."""

    checksums: NDArray[np.uint32]
    names: slice
    card: slice
    framed: bool


def frame_checksum(*parts: bytes) -> int:
    """CRC-32 of all but the images: metadata rows, targets that are rows, checksums, names and card."""
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return checksum


def map_file(path: Path) -> MappedFile:
    """Map a file that is long enough to have a header."""
    try:
        size = path.stat().st_size
        if size >= layout.HEADER.itemsize:
            return MappedFile(path)
    except IsADirectoryError:
        raise DataError(
            f"{path} must be a .beton file; got a folder: name a file, or let a folder of shards end in .wds"
        ) from None
    except FileNotFoundError:
        raise DataError(f"{path} must exist; make it with `trainer convert SOURCE {path}`") from None
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise unreadable(path, "a .beton file", error) from None
    raise DataError(
        f"{path} must start with a header of {layout.HEADER.itemsize} bytes; it has {size}: {_AGAIN}"
    )


def read_structure(
    path: Path, data: NDArray[np.uint8]
) -> tuple[np.void, NDArray[np.void], NDArray[np.void], NDArray[np.void]]:
    """Return header, field descriptors, metadata rows and allocation table of a file that is whole."""
    header = np.frombuffer(data, layout.HEADER, 1)[0]
    if header["version"] != layout.VERSION or not 1 <= header["num_fields"] <= 256:
        raise DataError(
            f"{path} must be a .beton file of version {layout.VERSION}; its first bytes say version "
            f"{header['version']} with {header['num_fields']} fields: make one with `trainer convert`"
        )
    if header["alloc_table_ptr"] == 0:
        raise DataError(f"{path} must be a finished file; its writer was stopped before the end: {_AGAIN}")
    samples, table = int(header["num_samples"]), int(header["alloc_table_ptr"])
    if samples == 0:
        raise DataError(f"{path} must hold at least 1 sample; it holds none: {_AGAIN}")
    fields_end = layout.HEADER.itemsize + int(header["num_fields"]) * layout.FIELD.itemsize
    if fields_end > data.size:
        raise _truncated(path, fields_end, data.size)
    fields = np.frombuffer(data, layout.FIELD, int(header["num_fields"]), layout.HEADER.itemsize)
    try:
        for field in fields:
            if field["type_id"] == layout.GRAY_TYPE and _mode(field) is None:
                raise KeyError(layout.GRAY_TYPE)
        row = layout.metadata_type([int(type_id) for type_id in fields["type_id"]])
    except KeyError as error:
        raise DataError(
            f"{path} must have fields of FFCV's own types only; got type {error}: convert its images with "
            "`trainer convert`"
        ) from None
    rows_end = fields_end + samples * row.itemsize
    whole = max(rows_end, table + samples * layout.ALLOCATION.itemsize)
    if whole > data.size or (data.size - table) % layout.ALLOCATION.itemsize:
        raise _truncated(path, whole, data.size)
    rows = np.frombuffer(data, row, samples, fields_end)
    allocations = np.frombuffer(data, layout.ALLOCATION, -1, table)
    return header, fields, rows, allocations


def _truncated(path: Path, needed: int, found: int) -> DataError:
    return DataError(
        f"{path} is cut off or damaged: its header asks for at least {needed:,} bytes and it has {found:,}: "
        f"{_AGAIN}"
    )


def _mode(field: np.void) -> Mode | None:
    return layout.mode_of(int(field["type_id"]), field["arguments"].tobytes())


def pick_fields(path: Path, fields: NDArray[np.void]) -> tuple[int, int | None, dict[int, int]]:
    """Choose the image field and the label field, by name or else the only one of its type, and the levels'.

    Labels are a field of FFCV's type 1 (``IntField``), else of 0 (``FloatField``), 4 (``NDArrayField``) or 6
    (``TorchTensorField``).

    Returns
    -------
    tuple
        Numbers of the image field, of the label field (None where all fields are images), and of each level's
        field by level, ascending.
    """
    names = [name.decode("ascii", "replace") for name in fields["name"]]
    types = fields["type_id"].tolist()

    def pick(wanted: str, type_ids: Sequence[int]) -> int:
        candidates = [i for i, kind in enumerate(types) if kind in type_ids]
        named = [i for i in candidates if names[i] == wanted]
        integers = [i for i in candidates if types[i] == layout.INT_TYPE]
        found = named or integers or candidates
        if len(found) != 1:
            held = ", ".join(f"{name} (type {kind})" for name, kind in zip(names, types, strict=True))
            raise DataError(
                f"{path} must have one field `{wanted}` of FFCV's type {' or '.join(map(str, type_ids))}; "
                f"its fields are {held}: convert its images with `trainer convert`"
            )
        return found[0]

    image = pick("image", _IMAGES)
    label = None if set(types) <= set(_IMAGES) else pick("label", _LABELS)
    levels = {}
    for number, name in enumerate(names):
        level = layout.level_of(name)
        if level is not None and number != image and types[number] == types[image]:
            levels[level] = number
    return image, label, dict(sorted(levels.items()))


def read_targets(
    path: Path, data: NDArray[np.uint8], field: np.void, column: NDArray[Any], end: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read the targets of a file, as `pipeline.targets.TargetSpec` has them, from their field.

    Parameters
    ----------
    field, column
        The field's descriptor, and its column of the metadata, one entry per sample.
    end
        Where the file's pages end, in bytes.

    Returns
    -------
    tuple
        The values, and bool[n]: True for those that lie outside of the file, which are returned as 0.

    Raises
    ------
    DataError
        When the field holds arrays that are no rows of labels or values.
    """
    outside = np.zeros(len(column), np.bool_)
    if field["type_id"] == layout.INT_TYPE:
        return column.astype(np.int64), outside
    if field["type_id"] == layout.FLOAT_TYPE:
        with np.errstate(over="ignore"):
            return column.astype(np.float32), outside
    try:
        dtype, shape = layout.array_type(field["arguments"].tobytes())
        if len(shape) != 1 or dtype.kind not in "buif":
            raise ValueError(f"arrays of {dtype}, shape {shape}")
    except ValueError as error:
        raise DataError(
            f"{path} must have labels that are numbers, or rows of 0 and 1 or of floats; it has {error}: "
            "convert its images with `trainer convert`"
        ) from None
    size = shape[0] * dtype.itemsize
    outside = (column > end) | (size > end - np.minimum(column, end))
    indices = np.where(outside, 0, column).astype(np.int64)
    if size > data.size:
        raise _truncated(path, size, data.size)
    found = np.empty((len(column), size), np.uint8)
    step = max(1, _GATHERED // size)
    for start in range(0, len(found), step):
        found[start : start + step] = data[indices[start : start + step, None] + np.arange(size)]
    rows = found.view(dtype)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return rows.astype(np.float32), outside
    # What is neither 0 nor 1 stays so: 2.
    return np.where((rows == 0) | (rows == 1), rows, 2).astype(np.uint8), outside


def read_extras(
    path: Path,
    data: NDArray[np.uint8],
    arguments: np.void,
    rows: NDArray[np.void],
    images: int,
    targets: NDArray[Any] | None,
) -> Extras | None:
    """Return the extras of one of our files; None for a file that FFCV wrote.

    ``images`` is how many images each sample has: its own, and one per level. ``targets`` are those that are
    rows on pages.
    """
    extras = np.frombuffer(arguments.tobytes(), layout.EXTRAS, 1)[0]
    if extras["magic"] != layout.MAGIC:
        return None
    if extras["schema"] != layout.EXTRAS_SCHEMA:
        raise DataError(
            f"{path} must have extras of schema {layout.EXTRAS_SCHEMA}; got {extras['schema']}: "
            "install a newer budgetrain"
        )
    start = int(extras["checksums_ptr"])
    checksums = slice(start, start + 4 * images * len(rows))
    names = slice(int(extras["names_ptr"]), int(extras["names_ptr"]) + int(extras["names_size"]))
    card = slice(int(extras["card_ptr"]), int(extras["card_ptr"]) + int(extras["card_size"]))
    whole = max(checksums.stop, names.stop, card.stop)
    if whole > data.size:
        raise _truncated(path, whole, data.size)
    blocks = [data[block].tobytes() for block in (checksums, names, card)]
    held = () if targets is None else (targets.tobytes(),)
    framed = frame_checksum(rows.tobytes(), *held, *blocks) == int(extras["frame_checksum"])
    return Extras(np.frombuffer(blocks[0], "<u4").reshape(images, len(rows)), names, card, framed)
