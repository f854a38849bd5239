"""PNGs that hold fewer rows than their header states are refused; Pillow shows the others as black."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.sources.pixels import decode

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    pixels: NDArray[np.uint8], *, color: int, depth: int = 8, interlaced: bool = False, rows: int = 99
) -> bytes:
    """Write pixels, uint8[h, w, bytes], by rows without a filter; of the last pass ``rows`` at most."""
    height, width = pixels.shape[:2]
    data = b""
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    for number, (left, top, across, down) in enumerate(passes):
        part = pixels[top::down, left::across]
        for row in part[: rows if number + 1 == len(passes) else None] if part.size else ():
            data += b"\0" + row.tobytes()
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"PLTE", bytes(range(48))) if color == 3 else b"")
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("color", [0, 2, 4, 6])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("shape", [(9, 7), (1, 1), (8, 8), (2, 5)])
def test_all_rows_must_be_there(shape: tuple[int, int], depth: int, color: int, interlaced: bool) -> None:
    bytes_per_pixel = {0: 1, 2: 3, 4: 2, 6: 4}[color] * depth // 8
    pixels = np.full((*shape, bytes_per_pixel), 200, np.uint8)
    whole = png(pixels, color=color, depth=depth, interlaced=interlaced)
    assert decode(io.BytesIO(whole)).shape == (*shape, 3)
    if shape[0] > 1:
        # Without any row Pillow itself complains; the last of seven passes may have none.
        cut = png(pixels, color=color, depth=depth, interlaced=interlaced, rows=0 if interlaced else 1)
        assert Image.open(io.BytesIO(cut)).convert("RGB").size == shape[::-1]
        with pytest.raises(ValueError, match=r"cut off: [\d,]+ of [\d,]+ bytes are there"):
            decode(io.BytesIO(cut))


def test_black_rows_are_no_missing_ones() -> None:
    for color, depth, per_row in ((2, 8, 21), (0, 1, 1), (3, 4, 4)):
        pixels = np.zeros((9, per_row, 1), np.uint8)
        header = struct.pack(">IIBBBBB", 7, 9, depth, color, 0, 0, 0)
        written = png(pixels, color=color, depth=depth)
        start = written.index(b"IHDR") - 4
        content = written[:start] + chunk(b"IHDR", header) + written[start + 25 :]
        assert decode(io.BytesIO(content)).shape == (9, 7, 3)
