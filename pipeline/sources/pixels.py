"""Any image file to upright RGB pixels."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What a file may be, whatever its ending: Pillow would go as far as to run other programs for some."""
_ORIENTATION = 0x0112
_WIDE_GREY = ("I;16", "I;16L", "I;16B", "I;16N")


def decode(file: BinaryIO) -> NDArray[np.uint8]:
    """Decode an image file: uint8[h, w, 3], RGB, turned upright as its EXIF orientation says.

    Grey becomes three equal channels, 16 bits become 8, transparent pixels are laid over white, CMYK and
    palettes are converted. Of several frames the first is taken.

    Raises
    ------
    Exception
        Whatever Pillow raises for a damaged file (its plugins raise many kinds), and ValueError for pixels
        that have no agreed range.
    """
    with _open(file) as image:
        return _to_rgb(image)


def is_plain_jpeg(file: BinaryIO) -> bool:
    """Say whether a file is a JPEG that decodes to what `decode` gives: upright, and RGB or grey."""
    with _open(file) as image:
        return image.format == "JPEG" and image.mode in ("RGB", "L") and _orientation(image) == 1


def _open(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        # Pillow's own message shows the file object, which tells a person nothing.
        raise ValueError(f"it is none of {', '.join(_FORMATS)}") from None


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    upright = image if _orientation(image) == 1 else ImageOps.exif_transpose(image)
    if upright.mode in _WIDE_GREY or (upright.mode == "I" and image.format == "PNG"):
        # Pillow clips 16 bits where they should be scaled; 65,535 / 257 = 255.
        grey = np.round(np.asarray(upright).astype(np.float64) / 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if upright.mode in ("I", "F"):
        raise ValueError(
            f"pixels must have 8 or 16 bits; these have mode {upright.mode}, whose range isn't known"
        )
    if upright.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in upright.info:
        coloured = upright.convert("RGBA")
        white = Image.new("RGBA", coloured.size, (255, 255, 255, 255))
        upright = Image.alpha_composite(white, coloured)
    return np.array(upright.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        # Damaged EXIF data say nothing about the pixels; such files are common and show as they are stored.
        return 1
