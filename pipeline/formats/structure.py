"""The parts of a ``.beton`` file found and checked: what has to hold before a sample can be looked up."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.formats import layout
from pipeline.formats.mapped import MappedFile
from pipeline.formats.whole import unreadable

_AGAIN = "get or convert it anew"


@dataclass(frozen=True, slots=True)
class Extras:
    """What files of ours hold besides FFCV's own parts; checksums are uint32[1 + levels, samples]."""

    checksums: NDArray[np.uint32]
    names: slice
    card: slice
    framed: bool


def frame_checksum(*parts: bytes) -> int:
    """CRC-32 of what frames the images: metadata rows, checksums, names and card, in this order."""
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
    except (OSError, ValueError) as error:
        raise unreadable(path, "a .beton file", error) from None
    raise DataError(
        f"{path} must start with a header of {layout.HEADER.itemsize} bytes; it has {size}: {_AGAIN}"
    )


def read_structure(
    path: Path, data: NDArray[np.uint8]
) -> tuple[np.void, NDArray[np.void], NDArray[np.void], NDArray[np.void]]:
    """Give header, field descriptors, metadata rows and allocation table of a file that is whole."""
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


def pick_fields(path: Path, fields: NDArray[np.void]) -> tuple[int, int, dict[int, int]]:
    """Choose the image field and the label field, by name or else the only one of its type, and the levels'.

    Returns
    -------
    tuple
        Numbers of the image field, of the label field, and of each level's field by level, ascending.
    """
    names = [name.decode("ascii", "replace") for name in fields["name"]]
    chosen = []
    for wanted, type_id in (("image", layout.IMAGE_TYPE), ("label", layout.INT_TYPE)):
        candidates = [i for i in range(len(names)) if fields["type_id"][i] == type_id]
        named = [i for i in candidates if names[i] == wanted]
        if len(named or candidates) != 1:
            raise DataError(
                f"{path} must have one field `{wanted}` of FFCV's type {type_id}; its fields are "
                + ", ".join(
                    f"{name} (type {field['type_id']})" for name, field in zip(names, fields, strict=True)
                )
                + ": convert its images with `trainer convert`"
            )
        chosen.append((named or candidates)[0])
    levels = {}
    for number, name in enumerate(names):
        level = layout.level_of(name)
        if level is not None and number != chosen[0] and fields["type_id"][number] == layout.IMAGE_TYPE:
            levels[level] = number
    return chosen[0], chosen[1], dict(sorted(levels.items()))


def read_extras(
    path: Path, data: NDArray[np.uint8], arguments: np.void, rows: NDArray[np.void], images: int
) -> Extras | None:
    """Find what a file of ours holds besides FFCV's parts; None in a file that FFCV wrote.

    ``images`` is how many images each sample has: its own, and one per level.
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
    framed = frame_checksum(rows.tobytes(), *blocks) == int(extras["frame_checksum"])
    return Extras(np.frombuffer(blocks[0], "<u4").reshape(images, len(rows)), names, card, framed)
