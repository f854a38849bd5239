"""Cutout: a square of each image blotted out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from pipeline.augment.protocol import Domain, HostArrays
from pipeline.augment.rows import byte_rectangle, to_bytes, to_images, to_pixels
from pipeline.batch import Draws
from pipeline.errors import DataError
from pipeline.randomness import Keys, integers, uniforms


@dataclass(frozen=True)
class Cutout:
    """Set a random square of each image to the mean colour.

    Its middle is drawn evenly from the image, and what lies outside is cut off (DeVries and Taylor, 2017).
    Works on normalised pixels, where the mean is 0, as the authors do.
    """

    size: int = 16
    """Side of the square in pixels; the authors use 16 for CIFAR-10, 8 for CIFAR-100, 20 for SVHN."""

    domain: ClassVar[Domain] = "float"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise DataError(f"size must be at least 1 pixel; got {self.size}")

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw the square within the image: ``top``, ``bottom``, ``left``, ``right``, int64[n]."""
        uniform = uniforms(keys, "cutout", 2)
        top = integers(uniform[:, 0], height) - self.size // 2
        left = integers(uniform[:, 1], width) - self.size // 2
        return {
            "top": np.maximum(top, 0),
            "bottom": np.minimum(top + self.size, height),
            "left": np.maximum(left, 0),
            "right": np.minimum(left + self.size, width),
        }

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Blot out: bytes of zeros are the number 0 in every format."""
        pixels = to_pixels(images)
        mask = byte_rectangle(pixels, draws["top"], draws["bottom"], draws["left"], draws["right"])
        kept = to_bytes(pixels).bitwise_and(mask.bitwise_not_())
        return to_images(kept.view(pixels.dtype).view_as(pixels))
