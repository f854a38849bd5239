"""The table of a WebDataset's samples, in a file of ours beside the shards."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError, is_refused
from pipeline.formats import webdataset_layout as layout
from pipeline.formats.whole import unreadable
from pipeline.modes import Mode

AGAIN = "get or convert it again"
COLUMNS = ("heights", "widths", "shard", "offsets", "sizes")


@dataclass(slots=True)
class Table:
    """Every sample of a WebDataset; rows of two-dimensional arrays are the full size and then the levels.

    Attributes
    ----------
    levels
        Pixels, ascending.
    shards
        The tar files' names.
    targets
        As `pipeline.targets.TargetSpec` has them; None where there are none.
    compressed
        bool[n].
    columns
        ``heights``, ``widths``, ``shard``, ``offsets``, ``sizes``: int64[1 + levels, n].
    checksums
        uint32[1 + levels, n], None where the table was gathered from the shards.
    names
        Of the samples in their source; none where they can't be read.
    card
        JSON text, None where the table was gathered.
    faults
        Faults of samples, by index.
    """

    levels: tuple[int, ...]
    shards: list[str]
    targets: NDArray[Any] | None
    compressed: NDArray[np.bool_]
    columns: dict[str, NDArray[np.int64]]
    checksums: NDArray[np.uint32] | None
    names: list[str]
    card: str | None
    faults: dict[int, str]


def digest_of(folder: Path) -> str:
    """Compute the SHA-256 of a WebDataset: of the names, sizes and bytes of its shards, indices and table."""
    digest = hashlib.sha256()
    files = [
        path for path in folder.iterdir() if path.suffix in (".tar", ".idx") or path.name == layout.TABLE
    ]
    for path in sorted(files):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def read_table(folder: Path) -> Table | None:
    """Return the table of a folder that we wrote; None if there is none.

    Raises
    ------
    DataError
        When it is damaged, of another schema, or at odds with the shards beside it.
    """
    path = folder / layout.TABLE
    if not path.exists():
        return None
    try:
        arrays = _load(path)
        if arrays["schema"] not in (layout.CLASS_TABLE_SCHEMA, layout.TABLE_SCHEMA):
            raise DataError(
                f"{path} must be of schema {layout.TABLE_SCHEMA} or older; got {arrays['schema']}: install a "
                "newer budgetrain"
            )
        shards = [str(name) for name in arrays["shards"]]
        sizes = arrays["shard_sizes"]
        table = Table(
            levels=tuple(int(level) for level in arrays["levels"]),
            shards=shards,
            targets=_targets(arrays),
            compressed=arrays["compressed"].astype(np.bool_),
            columns={name: arrays[name].astype(np.int64) for name in COLUMNS},
            checksums=arrays["checksums"].astype(np.uint32),
            names=_names(arrays["names"].tobytes()),
            card=arrays["card"].tobytes().decode(),
            faults={},
        )
    except DataError:
        raise
    except Exception as error:  # A damaged archive makes zipfile and NumPy raise arbitrary exceptions.
        if is_refused(error):
            raise unreadable(path, "a table of samples", error) from None
        raise DataError(
            f"{path} must be a table that `trainer convert` wrote; got {type(error).__name__}: {error}: "
            f"{AGAIN}, or remove it to have it gathered from the shards"
        ) from None
    for name, size in zip(shards, sizes, strict=True):
        _check_shard(folder / name, int(size))
    return table


def _targets(arrays: dict[str, NDArray[Any]]) -> NDArray[Any] | None:
    if arrays["schema"] == layout.CLASS_TABLE_SCHEMA:
        return arrays["labels"].astype(np.int64)
    found = arrays.get("labels")
    if found is not None and (
        len(found) != len(arrays["compressed"]) or found.dtype not in (np.uint8, np.float32, np.int64)
    ):
        raise ValueError(f"labels of {found.dtype}, shape {found.shape}")
    return found


def _load(path: Path) -> dict[str, NDArray[Any]]:
    # Whole members are read first: that checks their CRC-32, so that NumPy gets nothing damaged to parse.
    with zipfile.ZipFile(path) as archive:
        return {
            name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in archive.namelist()
        }


def _names(compressed: bytes) -> list[str]:
    return zlib.decompress(compressed).decode(errors="surrogateescape").split("\0")


def _check_shard(path: Path, size: int) -> None:
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        raise DataError(f"{path} must be there, a shard of its folder; it is missing: {AGAIN}") from None
    except OSError as error:
        raise unreadable(path, "a shard of its folder", error) from None
    if found != size:
        raise DataError(f"{path} must have {size:,} bytes as it was written; it has {found:,}: {AGAIN}")


def check_keys(folder: Path, table: Table, shards: Sequence[NDArray[np.uint8]], mode: Mode) -> None:
    """Check the first and last image of each shard against the table: shards could be swapped.

    Parameters
    ----------
    shards
        uint8 each, the mapped tar files of a table of ours.
    mode
        Of the images.

    Raises
    ------
    DataError
        When one differs.
    """
    shard, offsets = table.columns["shard"][0], table.columns["offsets"][0]
    for number, name in enumerate(table.shards):
        first, behind = np.searchsorted(shard, [number, number + 1])
        for index in {int(first), int(behind) - 1}:
            raw = not table.compressed[index]
            # Raw pixels come a few bytes after the beginning of their file.
            header = (int(offsets[index]) - raw) // layout.BLOCK * layout.BLOCK - layout.BLOCK
            wanted = f"{index:09}.{layout.image_ending(mode, raw=raw)}\0".encode()
            if header < 0 or shards[number][header : header + len(wanted)].tobytes() != wanted:
                raise DataError(
                    f"{folder / name} must hold sample {index} where the table says; it holds something "
                    f"else, as another shard under this name would: {AGAIN}"
                )
