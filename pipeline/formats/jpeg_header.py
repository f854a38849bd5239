"""The frame header of a JPEG file: size and components of the image, without decoding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset((0x01, *range(0xD0, 0xD8)))
_SCAN = 0xDA


@dataclass(frozen=True, slots=True)
class Frame:
    """Size and kind of a JPEG image.

    Attributes
    ----------
    height, width
        In pixels.
    components
        1 for gray, 3 for color, 4 for CMYK.
    """

    height: int
    width: int
    components: int


def read_frame(content: NDArray[np.uint8]) -> Frame | None:
    """Return the frame header in a JPEG file's bytes, uint8[n]; None if none precedes the first scan."""
    head = content.data
    if bytes(head[:2]) != b"\xff\xd8":
        return None
    at = 2
    while at + 10 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _FRAMES:
            return Frame(head[at + 5] << 8 | head[at + 6], head[at + 7] << 8 | head[at + 8], head[at + 9])
        elif marker == _SCAN:
            return None
        else:
            at += 2 + (head[at + 2] << 8 | head[at + 3])
    return None


def is_plain(content: NDArray[np.uint8]) -> bool:
    """Whether strict parsers accept a JPEG file, uint8[n].

    Segment follows segment from the first marker to the first scan, without stray or fill bytes; Huffman
    coding, 8 bits, one to four components; and an end marker closes the file.
    """
    head = content.data
    if bytes(head[:2]) != b"\xff\xd8" or bytes(head[-2:]) != b"\xff\xd9":
        return False
    at, framed = 2, False
    while at + 4 <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], head[at + 2] << 8 | head[at + 3]
        if marker == _SCAN:
            return framed
        if marker in _FRAMES:
            plain = (
                marker <= 0xC2 and at + 10 <= len(head) and head[at + 4] == 8 and head[at + 9] in (1, 3, 4)
            )
            if framed or not plain:
                return False
            framed = True
        elif marker in _BARE or marker < 0xC0 or marker == 0xFF or length < 2:
            return False
        at += 2 + length
    return False
