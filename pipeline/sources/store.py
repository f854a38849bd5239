"""One image of a source to the bytes that a data file holds."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import CorruptSampleError, DataError
from pipeline.sources.pixels import decode
from pipeline.sources.protocol import Source


@dataclass(frozen=True, slots=True)
class Storage:
    """How images are stored.

    Attributes
    ----------
    compressed
        As JPEG rather than raw.
    quality
        Of JPEGs that have to be encoded.
    reencode
        Encode also what already is a JPEG of the right size.
    max_resolution
        Cap on the longer side, in pixels; None for none.
    square
        Side of the square that every image becomes; None for none.
    """

    compressed: bool
    quality: int
    reencode: bool
    max_resolution: int | None
    square: int | None


@dataclass(frozen=True, slots=True)
class Stored:
    """One image as it is stored: its bytes, their CRC-32, and its size in pixels.

    ``encoded`` tells a JPEG that was encoded here from one that was taken over as it was.
    """

    content: bytes
    checksum: int
    height: int
    width: int
    encoded: bool


def store(source: Source, index: int, storage: Storage) -> tuple[Stored, NDArray[np.uint8]]:
    """Give image ``index`` of a source as it is to be stored, and its pixels, uint8[h, w, 3].

    Pixels are those before JPEG encoding where an image has to be encoded.

    Raises
    ------
    CorruptSampleError
        When the image can't be decoded; the line names it.
    """
    taken = source.encoded(index) if storage.compressed and not storage.reencode else None
    original = source.read(index) if taken is None else _decode(source, index, taken)
    pixels = fit(original, storage.max_resolution, storage.square)
    encoded = storage.compressed and (taken is None or pixels is not original)
    if not storage.compressed:
        content = pixels.tobytes()
    elif taken is None or encoded:
        try:
            content = _jpeg(pixels, storage.quality)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{source.sample_name(index)} of {source.origin} must fit into a JPEG; its "
                f"{pixels.shape[0]:,}x{pixels.shape[1]:,} pixels don't ({error}): give a max_resolution"
            ) from None
    else:
        content = taken
    return Stored(content, zlib.crc32(content), pixels.shape[0], pixels.shape[1], encoded), pixels


def fit(image: NDArray[np.uint8], max_resolution: int | None, square: int | None) -> NDArray[np.uint8]:
    """Resize an image uint8[h, w, 3], antialiased; the same array comes back where nothing is to be done.

    ``square`` cuts the largest centred square and scales it up or down to that side. ``max_resolution``
    scales down what has a longer side, keeping the shape; no side falls below 1 pixel.
    """
    height, width = image.shape[:2]
    box = (0, 0, width, height)
    size = (height, width)
    if square is not None:
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
        size = (square, square)
    elif max_resolution is not None and max(size) > max_resolution:
        scale = max_resolution / max(size)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
    if size == (height, width):
        return image
    resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC, box=box)
    return np.array(resized)


def _decode(source: Source, index: int, content: bytes) -> NDArray[np.uint8]:
    try:
        return decode(io.BytesIO(content))
    except Exception as error:  # Pillow's plugins raise whatever the damage leads them to.
        raise CorruptSampleError(
            f"{source.sample_name(index)} of {source.origin} must be a whole JPEG; it can't be decoded "
            f"({error}): mend or remove it"
        ) from None


def _jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return file.getvalue()
