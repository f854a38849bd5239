"""IDX, the file format of MNIST and its relatives."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_UBYTE = 8


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of bytes, gzipped (``.gz``) or plain: uint8 of the shape that it states.

    Raises
    ------
    ValueError
        When it is no IDX file of bytes, or holds fewer or more than its shape says.
    OSError, EOFError, zlib.error
        When it can't be read or unpacked.
    """
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UBYTE:
        raise ValueError(f"an IDX file of bytes must start with 0, 0, 8; got {list(content[:3])}")
    start = 4 + 4 * content[3]
    shape = tuple(int(side) for side in np.frombuffer(content[4:start], ">u4"))
    if len(content) - start != math.prod(shape):
        raise ValueError(f"shape {shape} asks for {math.prod(shape)} bytes; got {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
