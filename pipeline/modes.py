"""Modes of stored images: channels and bits per pixel, under Pillow's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Mode = Literal["RGB", "L", "I;16"]
MODES: tuple[Mode, ...] = get_args(Mode)
"""Every mode: color; gray of 8 bits; gray of 16 bits."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """How images of a mode lie in memory, as arrays [h, w, channels], and in files.

    Attributes
    ----------
    channels
        Values per pixel.
    dtype
        Of a value in memory: uint8 or uint16.
    """

    channels: int
    dtype: np.dtype[Any]

    @property
    def stride(self) -> int:
        """Bytes per pixel."""
        return self.channels * self.dtype.itemsize

    @property
    def white(self) -> int:
        """The highest level."""
        return int(np.iinfo(self.dtype).max)

    def pack(self, image: NDArray[Any]) -> bytes:
        """Return an image's bytes as files hold them: 16 bits big-endian, as in PGM and PNG."""
        return image.astype(self.dtype.newbyteorder(">"), copy=False).tobytes()

    def unpack(self, content: bytes, height: int, width: int) -> NDArray[Any]:
        """Return the image [height, width, channels] of bytes that `pack` returned, in memory of its own."""
        found: NDArray[Any] = np.frombuffer(bytearray(content), self.dtype.newbyteorder(">"))
        return found.astype(self.dtype, copy=False).reshape(height, width, self.channels)


PIXELS: dict[Mode, Pixels] = {
    "RGB": Pixels(3, np.dtype(np.uint8)),
    "L": Pixels(1, np.dtype(np.uint8)),
    "I;16": Pixels(1, np.dtype(np.uint16)),
}


def resized(
    image: NDArray[Any],
    size: tuple[int, int],
    resample: Image.Resampling,
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[Any]:
    """Resize an image [h, w, C] of any mode to (height, width), as Pillow does.

    Gray of 16 bits is resized in float32 and rounded.
    """
    height, width = size
    if image.shape[2] == 3:
        return np.array(Image.fromarray(image).resize((width, height), resample, box=box))
    plane = image[:, :, 0]
    if image.dtype == np.uint8:
        return np.array(Image.fromarray(plane).resize((width, height), resample, box=box))[:, :, None]
    wide = Image.fromarray(plane.astype(np.float32)).resize((width, height), resample, box=box)
    rounded: NDArray[Any] = np.clip(np.rint(np.asarray(wide)), 0, 65535).astype(np.uint16)
    return rounded[:, :, None]


def shown(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image [h, w, C] of any mode as uint8[h, w, 3], to be looked at."""
    eight = (image // 257).astype(np.uint8) if image.dtype == np.uint16 else image
    return np.repeat(eight, 3, axis=2) if eight.shape[2] == 1 else eight.astype(np.uint8, copy=False)
