"""Tables of WebDatasets without one, built from the headers of tars and images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.formats import webdataset_layout as layout
from pipeline.formats.jpeg_header import read_frame
from pipeline.formats.npy import read_npy
from pipeline.formats.tar_members import tar_members
from pipeline.formats.webdataset_table import COLUMNS, Table
from pipeline.formats.whole import unreadable

_IMAGE = re.compile(r"(?:([1-9][0-9]{0,5})\.)?(jpg|jpeg|ppm)", re.IGNORECASE)
_LABEL = re.compile(rb"\s*(-?[0-9]{1,18})\s*")
_GAP = rb"(?:\s|#[^\n]*\n)+"
_PPM = re.compile(rb"P6" + _GAP + rb"([0-9]{1,9})" + _GAP + rb"([0-9]{1,9})" + _GAP + rb"255\s")


@dataclass(frozen=True, slots=True)
class _File:
    """A file in a shard: its sample, its ending, and where its content lies."""

    key: str
    ending: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class _Image:
    """An image in a shard; ``place`` holds its entries of `Table.columns`, in their order."""

    place: tuple[int, int, int, int, int]
    raw: bool


def gather_table(
    folder: Path, shards: list[tuple[str, NDArray[np.uint8]]], *, unlabeled: bool = False
) -> Table:
    """Return the table of a folder's shards.

    Parameters
    ----------
    shards
        Name and mapped bytes of each, in their order.
    unlabeled
        Whether the card states that there are no targets.

    Raises
    ------
    DataError
        When a shard is damaged or at odds with the index beside it, or a sample has no image, or no label
        or one of another kind.
    """
    table = _Gathering(unlabeled)
    for number, (name, data) in enumerate(shards):
        path = folder / name
        samples = [list(group) for _, group in groupby(_files(path), lambda file: file.key)]
        _check_index(path, samples)
        for files in samples:
            table.add(path, number, data, files)
    if not table.names:
        raise DataError(
            f"{folder} must hold at least 1 sample in .tar files; it holds none: name the folder that the "
            ".tar files are in"
        )
    return table.done([name for name, _ in shards])


class _Gathering:
    """The samples found so far."""

    def __init__(self, unlabeled: bool) -> None:
        self._unlabeled = unlabeled
        self.targets: list[int | NDArray[Any]] = []
        self.names: list[str] = []
        self.images: list[dict[int | None, _Image]] = []
        self.faults: dict[int, str] = {}

    def add(self, path: Path, number: int, data: NDArray[np.uint8], files: list[_File]) -> None:
        """Add a sample of shard ``number``."""
        images: dict[int | None, _Image] = {}
        target: int | NDArray[Any] | None = None
        for file in files:
            content = data[file.offset : file.offset + file.size]
            if file.ending == layout.LABEL:
                text = _LABEL.fullmatch(content.tobytes())
                target = target if text is None else int(text[1])
            elif file.ending == layout.ARRAY:
                target = _array(content) if target is None else target
            elif (matched := _IMAGE.fullmatch(file.ending)) is not None:
                raw = matched[2].lower() == layout.RAW
                found = _shape(content, raw=raw)
                if isinstance(found, str):
                    self.faults.setdefault(len(self.names), found)
                    found = 0, 0, 0
                height, width, before = found
                place = (height, width, number, file.offset + before, file.size - before)
                images[int(matched[1]) if matched[1] else None] = _Image(place, raw)
        if None not in images or (target is None and not self._unlabeled):
            raise DataError(
                f"{path}: a sample must have an image, .jpg or .ppm, and a label, .cls, a whole number, or "
                f".npy, a row of 0 and 1 or of floats; {files[0].key} has "
                f"{', '.join('.' + file.ending for file in files)}: convert the images with `trainer "
                "convert`, unlabeled ones with --targets none"
            )
        if target is not None and not self._unlabeled:
            if self.targets and not _alike(self.targets[0], target):
                raise DataError(
                    f"{path}: targets must be of one kind and length in all samples; those of "
                    f"{self.names[0]} and {files[0].key} differ: convert the images with `trainer convert`"
                )
            self.targets.append(target)
        if len({image.raw for image in images.values()}) > 1:
            self.faults.setdefault(len(self.names), "is a JPEG at one level and raw at another")
        self.images.append(images)
        self.names.append(files[0].key)

    def done(self, shards: list[str]) -> Table:
        levels = sorted({level for images in self.images for level in images if level is not None})
        rows = [
            [images.get(level, images[None]).place for images in self.images] for level in (None, *levels)
        ]
        entries = np.array(rows, np.int64)
        return Table(
            levels=tuple(levels),
            shards=shards,
            targets=np.array(self.targets) if self.targets else None,
            compressed=np.array([not images[None].raw for images in self.images], np.bool_),
            columns={name: entries[:, :, column] for column, name in enumerate(COLUMNS)},
            checksums=None,
            names=self.names,
            card=None,
            faults=self.faults,
        )


def _files(path: Path) -> Iterator[_File]:
    """Return the files in a tar, in its order, without those with hidden names, as DALI's index does."""
    for key, ending, entry in tar_members(path, _is_part):
        yield _File(key, ending, entry.offset_data, entry.size)


def _array(content: NDArray[np.uint8]) -> NDArray[Any] | None:
    """Read a target in a .npy: float32, one or a row, or a row uint8 of 0 and 1; None where it is neither."""
    try:
        found = read_npy(content.tobytes())
    except ValueError:
        return None
    if found.ndim > 1 or not found.size:
        return None
    if found.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return found.astype(np.float32)
    if found.ndim == 0 or found.dtype.kind not in "bui":
        return None
    # What is neither 0 nor 1 stays so: 2.
    return np.where((found == 0) | (found == 1), found, 2).astype(np.uint8)


def _alike(one: int | NDArray[Any], other: int | NDArray[Any]) -> bool:
    if isinstance(one, int) or isinstance(other, int):
        return isinstance(one, int) and isinstance(other, int)
    return one.dtype == other.dtype and one.shape == other.shape


def _is_part(ending: str) -> bool:
    return ending in (layout.LABEL, layout.ARRAY) or _IMAGE.fullmatch(ending) is not None


def _check_index(shard: Path, samples: list[list[_File]]) -> None:
    """Compare a shard with the index beside it, where there is one."""
    index = shard.with_suffix(".idx")
    try:
        lines = index.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(index, "an index of its shard", error) from None
    version, _, count = lines[0].partition(" ") if lines else ("", "", "")
    agrees = version.startswith("v1.") and count == str(len(samples)) and len(lines) == len(samples) + 1
    fields = 4 if version == layout.INDEX_VERSION else 3
    for line, files in zip(lines[1:], samples, strict=False):
        words = line.split(" ")
        entries = [words[at + 1 : at + 3] for at in range(0, len(words), fields)]
        agrees = agrees and entries == [[str(file.offset), str(file.size)] for file in files]
    if not agrees:
        raise DataError(
            f"{index} must say where the {len(samples):,} samples of {shard.name} are; it says otherwise: "
            "make it again with DALI's wds2idx, or remove it"
        )


def _shape(content: NDArray[np.uint8], *, raw: bool) -> tuple[int, int, int] | str:
    """Return height, width and the number of bytes before the pixels of an image, or its fault in words."""
    if not raw:
        frame = read_frame(content)
        return "is no JPEG" if frame is None else (frame.height, frame.width, 0)
    head = _PPM.match(content[: layout.BLOCK].tobytes())
    if head is None:
        return "is no binary PPM image of 8 bits a channel"
    return int(head[2]), int(head[1]), head.end()
