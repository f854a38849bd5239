"""JPEG headers: the fields that the decoder needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.kept import kernel


@kernel
def jpeg_header(data: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Read a JPEG's markers up to its first scan.

    The decoder is passed the shape and doesn't check it: it would scale a larger image down, and write a
    smaller one in rows of the wrong length.

    Returns
    -------
    height, width
        In pixels; 0, 0 if there is no frame header.
    place
        Offset of the height in the header, two bytes, big-endian.
    unit
        Number of rows coded together. 0 unless rows can be decoded in sequence without those below: the
        coding is sequential, with Huffman codes, in one scan and without restart markers.
    """
    at, end = 2, data.size
    height, width, place, unit, components, restarts = 0, 0, 0, 0, 0, False
    while at + 9 <= end and data[at] == 0xFF:
        marker = int(data[at + 1])
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        if 0xC0 <= marker <= 0xCF and marker != 0xC4 and marker != 0xC8 and marker != 0xCC:
            place = at + 5
            height = int(data[at + 5]) * 256 + int(data[at + 6])
            width = int(data[at + 7]) * 256 + int(data[at + 8])
            if marker <= 0xC1 and at + 9 < end:
                components = int(data[at + 9])
                for component in range(components):
                    if at + 11 + 3 * component < end:
                        unit = max(unit, 8 * (int(data[at + 11 + 3 * component]) & 15))
        elif marker == 0xDD:
            restarts = int(data[at + 4]) * 256 + int(data[at + 5]) > 0
        elif marker == 0xDA:
            if restarts or int(data[at + 4]) != components:
                unit = 0
            return height, width, place, unit
        at += 2 + int(data[at + 2]) * 256 + int(data[at + 3])
    return height, width, place, 0
