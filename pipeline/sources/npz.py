"""NumPy arrays in an ``.npz`` file, mapped rather than loaded."""

from __future__ import annotations

import contextlib
import math
import struct
import tempfile
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.bus_error import guard
from pipeline.errors import DataError, is_refused
from pipeline.formats.whole import unreadable
from pipeline.sources.arrays import ArraySource
from pipeline.sources.label_values import read_labels
from pipeline.sources.labels import Numbered, same_type
from pipeline.sources.protocol import no_labels
from pipeline.sources.target_values import read_targets
from pipeline.targets import TargetKind

_PAIRS = (("{}_images", "{}_labels"), ("x_{}", "y_{}"), ("images", "labels"))
"""Names of the arrays; {} stands for the split."""
_SPLITS = ("train", "test", "val")
_CHUNK = 1 << 20
_MOST_TOLD = 200
"""Maximum length of a library's message: NumPy shows a damaged header in full."""
_LOCAL_HEADER = struct.Struct("<26x2H")


def open_npz(path: Path, split: str, kind: TargetKind = "class") -> ArraySource:
    """Open a split of an ``.npz``.

    Its arrays are ``train_images`` and ``train_labels``, ``x_train`` and ``y_train``, or ``images`` and
    ``labels``, which are taken whatever the split; ``classes`` may name the classes. ``kind`` is what the
    labels are to be taken for; of kind none there need be none.

    Images are read from disk one by one. If the file is compressed they are unpacked into a temporary file
    first.

    Raises
    ------
    DataError
        When the file is damaged, or holds no such arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive, split, kind)
    except DataError:
        raise
    except Exception as error:  # Damaged archives make zipfile and NumPy raise arbitrary exceptions.
        if is_refused(error):
            raise unreadable(path, "an .npz file", error) from None
        fault = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} must be a whole .npz file; reading it gave: {textwrap.shorten(fault, _MOST_TOLD)}: save "
            "it again"
        ) from None


def _read(path: Path, archive: zipfile.ZipFile, split: str, kind: TargetKind) -> ArraySource:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    needed = slice(0, 1) if kind == "none" else slice(0, 2)
    pair = next((pair for pair in _pairs(split) if members.keys() >= set(pair[needed])), None)
    if pair is None:
        raise DataError(
            f"{path} must hold arrays images and labels, or {split}_images and {split}_labels; it holds "
            f"{', '.join(members) or 'nothing'}: save it under such names, or take images without labels by "
            "--targets none"
        )
    result = _labels(path, archive, members, pair, kind)
    images = _mapped(path, archive, members[pair[0]])
    if images.ndim not in (3, 4):
        raise DataError(
            f"{pair[0]} of {path} must be [n, h, w], [n, h, w, c] or [n, c, h, w]; got shape {images.shape}"
        )
    status = path.stat()
    return ArraySource(
        name=path.stem,
        split=split,
        origin=f"{path.name}, {' and '.join(pair[needed])}",
        classes=result.classes,
        labels=no_labels(len(images)) if kind == "none" else result.labels,
        notes=result.notes,
        images=images,
        stamp=f"{path.name} {pair[0]} {status.st_size} {status.st_mtime_ns}",
        kind=kind,
    )


def _labels(
    path: Path,
    archive: zipfile.ZipFile,
    members: dict[str, zipfile.ZipInfo],
    pair: tuple[str, str],
    kind: TargetKind,
) -> Numbered:
    if kind == "none":
        return read_targets(kind, (), path.name)
    names = _names(_small(archive, members["classes"]), path.name) if "classes" in members else None
    if kind != "class":
        return read_targets(kind, _small(archive, members[pair[1]]), path.name, names)
    parts = {other[1] for part in _SPLITS for other in _pairs(part)[:2] if members.keys() >= set(other)}
    found = {name: _small(archive, members[name]) for name in sorted({*parts, pair[1]})}
    same_type(
        ((name, "texts" if array.dtype.kind in "US" else "numbers") for name, array in found.items()),
        path.name,
    )
    labels = found.pop(pair[1])
    elsewhere = [label for array in found.values() for label in np.atleast_1d(array).tolist()]
    return read_targets(kind, labels, path.name, names, elsewhere)


def _pairs(split: str) -> list[tuple[str, str]]:
    return [(images.format(split), labels.format(split)) for images, labels in _PAIRS]


def _names(array: NDArray[Any], origin: str) -> list[str]:
    values = read_labels(array, f"{origin} (classes)", "class {}".format)
    return [str(number) for number in values.numbers] if values.texts is None else values.texts


def _small(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        shape, _, dtype = _header(file)
        if dtype.hasobject:
            raise DataError(
                f"{member.filename} of {archive.filename} must be an array of numbers or texts; it holds "
                "Python objects: save it again with a type, as np.array(labels, dtype=str)"
            )
        # Before memory is allocated, so that a lack of memory isn't reported as the file's fault.
        stated, held = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
        if stated > held:
            raise ValueError(
                f"{member.filename} states {stated:,} bytes, too large for the {held:,} it holds"
            )
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _mapped(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Map an array of the archive: in place if it is uncompressed, else in a temporary file."""
    if member.compress_type == zipfile.ZIP_STORED:
        with archive.open(member) as stored:
            # To the end, where its checksum is compared: a map is never read as a whole again.
            while stored.read(_CHUNK):
                pass
        with path.open("rb") as file:
            file.seek(member.header_offset)
            name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            file.seek(name + extra, 1)
            mapped = _map(file)
            guard(mapped, path)
            return mapped
    with archive.open(member) as packed, _room(path, member) as file:
        while chunk := packed.read(_CHUNK):
            with _needed(path, member):
                file.write(chunk)
        with _needed(path, member):
            file.flush()
        file.seek(0)
        # The map keeps the file's bytes alive when its name and descriptor are gone.
        return _map(file)


def _room(path: Path, member: zipfile.ZipInfo) -> IO[bytes]:
    with _needed(path, member):
        return tempfile.TemporaryFile()


@contextlib.contextmanager
def _needed(path: Path, member: zipfile.ZipInfo) -> Iterator[None]:
    """Report a fault of the folder for temporary files, which isn't the archive's."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"the folder for temporary files must take the {member.file_size:,} bytes of {member.filename}, "
            f"which {path} holds compressed; it can't ({error.strerror or error}): name another by the "
            "environment's TMPDIR, or save the arrays by np.savez"
        ) from None


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        found: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(file)
    except MemoryError:
        # Raised by Python's parser for deep nesting; a header has at most 64 KiB.
        raise ValueError("its header is nested too deep") from None
    return found


def _map(file: IO[bytes]) -> NDArray[Any]:
    shape, fortran, dtype = _header(file)
    if dtype.hasobject:
        raise ValueError("an array of Python objects is none of images")
    order: Any = "F" if fortran else "C"
    return np.memmap(file, dtype, "r", file.tell(), shape, order)
