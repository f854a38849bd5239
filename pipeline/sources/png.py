"""Checksums of a PNG file's pixel data, which Pillow doesn't compare."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_SIGNATURE = 8
_PIECE = 1 << 20
"""Bytes decompressed at a time, and discarded."""
_FRAME = struct.Struct(">I4s")
_CRC = struct.Struct(">I")


_SIZE = struct.Struct(">IIBB2x?")
"""Of an IHDR chunk: width, height, bits per channel, kind of color, and whether it is interlaced."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass over an image, and the distances to the next."""


def is_interlaced(content: bytes) -> bool:
    """Return whether a PNG file is interlaced, so that missing data isn't of the last rows."""
    interlaced: bool = _SIZE.unpack_from(content, _SIGNATURE + _FRAME.size)[4]
    return interlaced


def check_png(content: bytes, *, count: bool = False) -> None:
    """Check the pixel data of a PNG file that can be decoded.

    Pillow stops reading once it has all rows, and so takes data whose end, with their checksum, is damaged.
    The chunks' CRC-32s are compared first, which is quick; where one differs, or a chunk is cut off, the
    whole stream must still decompress to its end, which its Adler-32 vouches for.

    Parameters
    ----------
    count
        Whether the data must also be as many as the header states, which takes decompressing them: a sound
        stream of too few rows, as of a writer that was killed, leaves the others at 0.

    Raises
    ------
    ValueError
        When the pixels aren't those that were written.
    """
    chunks = list(_pixel_data(content))
    if all(sound for _, sound in chunks) and not count:
        return
    stream, size = zlib.decompressobj(), 0
    try:
        for data, _ in chunks:
            left: memoryview | bytes = data
            while left:
                size += len(stream.decompress(left, _PIECE))
                left = stream.unconsumed_tail
    except zlib.error:
        raise ValueError("its pixel data are damaged: their checksum differs") from None
    if not stream.eof:
        raise ValueError("its pixel data are damaged: they are cut off, and a checksum differs")
    if size < (wanted := _stated(content)):
        raise ValueError(f"its pixel data are cut off: {size:,} of {wanted:,} bytes are there")


def _stated(content: bytes) -> int:
    """Return the bytes of uncompressed pixel data of an image as its header states it: rows and filters."""
    width, height, depth, color, interlaced = _SIZE.unpack_from(content, _SIGNATURE + _FRAME.size)
    total = 0
    for left, top, across, down in _ADAM7 if interlaced else _WHOLE:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * depth * _CHANNELS[color] // 8))
    return total


def _pixel_data(content: bytes) -> Iterator[tuple[memoryview, bool]]:
    """Yield each chunk of the first image's data, and whether it is whole, with the CRC-32 that it states."""
    view, at, begun = memoryview(content), _SIGNATURE, False
    while at + _FRAME.size <= len(view):
        length, kind = _FRAME.unpack_from(view, at)
        start, stop = at + _FRAME.size, at + _FRAME.size + length
        if kind == b"IDAT":
            begun = True
            whole = stop + _CRC.size <= len(view)
            stated = _CRC.unpack_from(view, stop)[0] if whole else None
            yield view[start:stop], stated == zlib.crc32(view[at + 4 : stop])
        elif begun:
            return
        at = stop + _CRC.size
