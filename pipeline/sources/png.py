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


def check_png(content: bytes) -> None:
    """Check the pixel data of a PNG file that can be decoded.

    Pillow stops reading once it has all rows, and so takes data whose end, with their checksum, is damaged.
    The chunks' CRC-32s are compared first, which is quick; where one differs, or a chunk is cut off, the
    whole stream must still decompress to its end, which its Adler-32 vouches for.

    Raises
    ------
    ValueError
        When the pixels aren't those that were written.
    """
    chunks = list(_pixel_data(content))
    if all(sound for _, sound in chunks):
        return
    stream = zlib.decompressobj()
    try:
        for data, _ in chunks:
            left: memoryview | bytes = data
            while left:
                stream.decompress(left, _PIECE)
                left = stream.unconsumed_tail
    except zlib.error:
        raise ValueError("its pixel data are damaged: their checksum differs") from None
    if not stream.eof:
        raise ValueError("its pixel data are damaged: they are cut off, and a checksum differs")


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
