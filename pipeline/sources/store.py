"""Encoding of a source's images for data files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import DataError
from pipeline.formats.protocol import StoredImage
from pipeline.modes import PIXELS, Mode, resized
from pipeline.sources.encoded import decoding
from pipeline.sources.pixels import decode
from pipeline.sources.protocol import Source


@dataclass(frozen=True, slots=True)
class Storage:
    """How images are stored.

    Attributes
    ----------
    compressed
        bool[n]: which images of the source are stored as JPEG rather than raw.
    quality
        Quality of JPEGs that have to be encoded.
    reencode
        Encode also images that already are JPEGs of the right size.
    max_resolution
        Cap on the longer side, in pixels; None for none.
    square
        Side of the square that every image becomes; None for none.
    levels
        Further sizes, in pixels, ascending: sides of squares where ``square`` is set, else shorter sides.
    mode
        Of the images.
    """

    compressed: NDArray[np.bool_]
    quality: int
    reencode: bool
    max_resolution: int | None
    square: int | None
    levels: tuple[int, ...] = ()
    mode: Mode = "RGB"


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored image: at full size, then at every level.

    ``encoded`` is False for a JPEG that was taken over unchanged.
    ``complaint`` is the warning of its decoder, which decoded the image nevertheless.
    """

    images: tuple[StoredImage, ...]
    compressed: bool
    encoded: bool
    complaint: str = ""


def store(source: Source, index: int, storage: Storage) -> tuple[Stored, NDArray[Any]]:
    """Return image ``index`` of a source as stored, and its pixels at full size, [h, w, C].

    Pixels are those before JPEG encoding where an image has to be encoded.

    Raises
    ------
    CorruptSampleError
        When the image can't be decoded; the line names it.
    DataError
        When the image is larger than a JPEG can be.
    """
    compressed = bool(storage.compressed[index])
    taken = source.encoded(index) if compressed and not storage.reencode else None
    original = source.read(index) if taken is None else _decode(source, index, taken, storage.mode)
    pixels = fit(original, storage.max_resolution, storage.square)
    encoded = compressed and (taken is None or pixels is not original)

    def contents(image: NDArray[Any]) -> bytes:
        if not compressed:
            return PIXELS[storage.mode].pack(image)
        try:
            return _jpeg(image, storage.quality)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{source.sample_name(index)} of {source.origin} must fit into a JPEG; its "
                f"{image.shape[0]:,}x{image.shape[1]:,} pixels don't ({error}): give a max_resolution"
            ) from None

    def image_of(pixels: NDArray[Any], content: bytes | None = None) -> StoredImage:
        return StoredImage.of(contents(pixels) if content is None else content, *pixels.shape[:2])

    full = image_of(pixels, None if encoded else taken)
    images = [full]
    for level in storage.levels:
        if storage.square is None and min(pixels.shape[:2]) <= level:
            images.append(full)
            continue
        # From the original: resampling twice would blur more.
        smaller = fit(original, None, level) if storage.square else _shorter(original, pixels.shape, level)
        images.append(image_of(smaller))
        encoded |= compressed
    return Stored(tuple(images), compressed, encoded), pixels


def fit(image: NDArray[Any], max_resolution: int | None, square: int | None) -> NDArray[Any]:
    """Resize an image [h, w, C] of any mode, antialiased; the same array is returned if its size is right.

    ``square`` cuts the largest centered square and scales it up or down to that side. ``max_resolution``
    scales down images with a longer side, keeping the aspect ratio; no side falls below 1 pixel.
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
    return resized(image, size, Image.Resampling.BICUBIC, box)


def _shorter(image: NDArray[Any], full: tuple[int, ...], level: int) -> NDArray[Any]:
    """Resize to a shorter side of ``level`` pixels, with the aspect ratio of the full image."""
    scale = level / min(full[:2])
    height, width = round(full[0] * scale), round(full[1] * scale)
    return resized(image, (height, width), Image.Resampling.BICUBIC)


def _decode(source: Source, index: int, content: bytes, mode: Mode) -> NDArray[Any]:
    with decoding(f"{source.sample_name(index)} of {source.origin}", "JPEG"):
        return decode(io.BytesIO(content), mode)


def _jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0]).save(file, "JPEG", quality=quality)
    return file.getvalue()
