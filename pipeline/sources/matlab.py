"""Numeric arrays from MATLAB 5 files, in which SVHN is published."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"
}  # fmt: skip
_NUMERIC_CLASSES = range(6, 16)


def read_matlab(path: Path) -> dict[str, NDArray[Any]]:
    """Read the numeric arrays of a MATLAB 5 file (``-v6``, or ``-v7`` with its compression), by name.

    Values keep the type in which they are stored, which can be narrower than that of the variable.

    Raises
    ------
    ValueError
        When it is no such file or is damaged.
    OSError, zlib.error
        When it can't be read or unpacked.
    """
    content = path.read_bytes()
    if len(content) < _HEADER or content[126:128] not in (b"IM", b"MI"):
        raise ValueError("a MATLAB 5 file must have a header of 128 bytes that ends in IM or MI")
    order = "<" if content[126:128] == b"IM" else ">"
    arrays: dict[str, NDArray[Any]] = {}
    for kind, data in _elements(memoryview(content)[_HEADER:], order):
        if kind == _COMPRESSED:
            unpacked = memoryview(zlib.decompress(data))
            arrays.update(
                _matrix(inner, order) for code, inner in _elements(unpacked, order) if code == _MATRIX
            )
        elif kind == _MATRIX:
            arrays.update([_matrix(data, order)])
    return arrays


def _matrix(data: memoryview, order: str) -> tuple[str, NDArray[Any]]:
    """Read the parts of a matrix: flags, dimensions, name, values in column-major order."""
    parts = list(_elements(data, order))
    if len(parts) < 4:
        raise ValueError(f"a matrix must have 4 parts; got {len(parts)}")
    flags = int(np.frombuffer(parts[0][1], order + "u4")[0])
    shape = tuple(int(side) for side in np.frombuffer(parts[1][1], order + "i4"))
    name = bytes(parts[2][1]).decode("ascii")
    code, values = parts[3]
    if flags & 0xFF not in _NUMERIC_CLASSES or code not in _NUMBERS:
        raise ValueError(f"{name} must be a numeric array")
    return name, np.frombuffer(values, order + _NUMBERS[code]).reshape(shape, order="F")


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yield data elements: a tag of type and size, then the data, padded to 8 bytes."""
    at = 0
    while at + 8 <= len(data):
        code, size = (int(word) for word in np.frombuffer(data[at : at + 8], order + "u4"))
        if code >> 16:
            # Up to 4 bytes fit into the tag itself: size and type then share its first word.
            yield code & 0xFFFF, data[at + 4 : at + 4 + (code >> 16)]
            at += 8
            continue
        if at + 8 + size > len(data):
            raise ValueError(f"the file ends within an element of {size} bytes")
        yield code, data[at + 8 : at + 8 + size]
        # Only compressed elements are not padded.
        at += 8 + (size if code == _COMPRESSED else -(-size // 8) * 8)
