"""Conversion of image files, Pillow images and arrays to upright pixels of one mode."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipeline.errors import is_refused
from pipeline.modes import PIXELS, Mode
from pipeline.sources.png import check_png, is_interlaced
from pipeline.sources.unreadable import what_it_is

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that a file may have, whatever its ending: for some others Pillow would run other programs."""
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition for each EXIF orientation; 1 and undefined values leave the image as it is."""
_WIDE_GRAY = ("I;16", "I;16L", "I;16B", "I;16N")
_WIDE_AS_I = ("PNG", "PPM")
"""Formats whose gray of 16 bits Pillow gives with 32: as 0 to 65,535, whatever a PGM says its white is."""


class UnkeptModeError(ValueError):
    """An image can't be kept in a mode; the text states the rule, the value and the remedy."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"have one channel of 16 bits to be kept in mode I;16; it has {found}: convert with --mode L "
            "or RGB"
        )


def decode(file: BinaryIO, mode: Mode = "RGB") -> NDArray[Any]:
    """Decode an image file: [h, w, C] of a mode, turned upright as its EXIF orientation says.

    In RGB, uint8[h, w, 3], gray becomes three equal channels, 16 bits become 8, transparent pixels are laid
    over white, CMYK and palettes are converted. In L, uint8[h, w, 1], colors become their luminance as well.
    In I;16, uint16[h, w, 1], only gray of 16 bits is taken. Of several frames the first is taken.

    Raises
    ------
    UnkeptModeError
        When the image has another mode than I;16 asks for.
    Exception
        Whatever Pillow raises for a damaged file (its plugins raise many kinds), and ValueError for pixels
        that have no agreed range.
    """
    with _open(file) as image:
        pixels = to_mode(image, mode)
        if image.format == "PNG":
            file.seek(0)
            content = file.read()
            # Pillow leaves rows at 0 for which there are no data.
            last = image.crop((0, image.height - 1, image.width, image.height))
            check_png(content, count=not np.asarray(last).any() or is_interlaced(content))
        return pixels


def is_plain_jpeg(file: BinaryIO, mode: Mode = "RGB") -> bool:
    """Return whether a file is a JPEG that decodes as `decode` does: upright, and RGB or gray, or gray."""
    kept = {"RGB": ("RGB", "L"), "L": ("L",), "I;16": ()}[mode]
    with _open(file) as image:
        return image.format == "JPEG" and image.mode in kept and _turn(image) is None


def kept_mode(file: BinaryIO) -> Mode:
    """Return the mode that an image file has by its header: of gray that of its depth, else RGB.

    Raises
    ------
    Exception
        As `decode` does.
    """
    with _open(file) as image:
        if _is_wide(image):
            return "I;16"
        return "L" if image.mode in ("1", "L") else "RGB"


def _is_wide(image: Image.Image) -> bool:
    """Whether an image is gray of 16 bits."""
    return image.mode in _WIDE_GRAY or (image.mode == "I" and image.format in _WIDE_AS_I)


def _open(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        # Pillow's own message only shows the file object.
        file.seek(0)
        found = what_it_is(file.read(512))
        none = f"it is none of {', '.join(_FORMATS)}"
        raise ValueError(
            none if found is None else "it is empty" if found == "empty" else f"it is {found}"
        ) from None
    except Image.DecompressionBombError as error:
        claimed, most = (int(number) for number in re.findall(r"\d+", str(error))[:2])
        raise ValueError(
            f"its header states {claimed:,} pixels, and at most {most:,} are decoded: allow more by "
            "--max-pixels where it is sound"
        ) from None


def to_mode(image: Image.Image, mode: Mode) -> NDArray[Any]:
    """Return an image's pixels as `decode` does.

    Raises
    ------
    Exception
        As `decode` does.
    """
    # First: reading EXIF may decode the image, and damaged pixels must be reported from here.
    image.load()
    turn = _turn(image)
    # Not ImageOps.exif_transpose, which writes all EXIF tags again and fails over those it can't write.
    upright = image if turn is None else image.transpose(turn)
    if _is_wide(image):
        # Pillow clips 16 bits where they should be scaled.
        wide = np.asarray(upright).astype(np.uint16)[:, :, None]
        return wide if mode == "I;16" else np.repeat(eight_bits(wide), PIXELS[mode].channels, axis=2)
    if mode == "I;16":
        raise UnkeptModeError(f"mode {upright.mode}")
    if upright.mode in ("I", "F"):
        raise ValueError(
            f"pixels must have 8 or 16 bits; these have mode {upright.mode}, whose range isn't known"
        )
    if upright.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in upright.info:
        upright = _over_white(upright.convert("RGBA"))
    pixels = np.array(upright.convert(mode))
    return pixels if mode == "RGB" else pixels[:, :, None]


def array_to_mode(array: NDArray[Any], mode: Mode = "RGB") -> NDArray[Any]:
    """Return an image that is an array as [h, w, C] of a mode, in memory of its own; see `decode`.

    Parameters
    ----------
    array
        [h, w], [h, w, c] or [c, h, w] with 1, 3 or 4 channels, the fourth being opacity; 8 or 16 bits, truth
        values, or floats in [0, 1].

    Raises
    ------
    UnkeptModeError
        When it isn't of the mode I;16, and is asked to be.
    ValueError
        When it has another shape, or values without an agreed range.
    """
    shape = array.shape
    # As files of other machines hold them, with the highest byte first.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or not {array.shape[0], array.shape[2]} & {1, 3, 4} or array.size == 0:
        raise ValueError(
            f"an image must be [h, w], [h, w, c] or [c, h, w] with 1, 3 or 4 channels; got shape {shape}"
        )
    if array.shape[2] not in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if mode == "I;16":
        if array.dtype != np.uint16 or array.shape[2] != 1:
            raise UnkeptModeError(f"{array.shape[2]} channels of {array.dtype}")
        return np.array(array, order="C")
    pixels = eight_bits(array)
    if pixels.shape[2] == 1:
        return np.repeat(pixels, PIXELS[mode].channels, axis=2)
    if pixels.shape[2] == 4:
        pixels = np.array(_over_white(Image.fromarray(np.ascontiguousarray(pixels))).convert("RGB"))
    if mode == "L":
        return np.array(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[:, :, None]
    return np.array(pixels, order="C")


def eight_bits(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale an array's range to 0 to 255: that of 16 bits, truth values, or floats in [0, 1].

    Raises
    ------
    ValueError
        When it is of another type, or floats lie outside of [0, 1].
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        # 65,535 / 257 = 255.
        return np.round(array / np.float64(257)).astype(np.uint8)
    if array.dtype == np.bool_:
        return array * np.uint8(255)
    if array.dtype.kind != "f":
        raise ValueError(f"pixels must be uint8, uint16, bool or floats in [0, 1]; got {array.dtype}")
    if not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(f"pixels that are floats must lie in [0, 1]; got {array.min()} to {array.max()}")
    return np.round(array.astype(np.float64) * 255).astype(np.uint8)


def _over_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the transposition that turns an image upright, by its EXIF or XMP orientation."""
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception as error:  # Pillow raises arbitrary exceptions on damage.
        if is_refused(error):
            raise
        # Damaged EXIF data don't affect the pixels; such files are common and are shown as stored.
        return None
    return _TURNS.get(value) if isinstance(value, int) else None
