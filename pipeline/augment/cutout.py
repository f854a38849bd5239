"""Cutout: erases a square of each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.errors import DataError
from pipeline.ops.memory import to_images, to_pixels
from pipeline.randomness import Keys, integers, uniforms
from pipeline.resolution import MOST_PIXELS


@dataclass(frozen=True)
class Cutout:
    """Set a random square of each image to the mean color.

    Its center is uniform in the image, and the square is clipped at the borders (DeVries and Taylor, 2017).
    Works on normalized pixels, where the mean is 0, as the released code.

    A square of odd size has exactly that size; the released code extends size // 2 both ways, one pixel less.
    """

    size: int = 16
    """Side of the square in pixels at full resolution; the authors use 16 for CIFAR-10, 8 for CIFAR-100, 20
    for SVHN."""

    domain: ClassVar[Domain] = "float"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise DataError(f"size must be at least 1 pixel; got {self.size}")
        if self.size > MOST_PIXELS:
            raise DataError(f"size must be at most {MOST_PIXELS} pixels; got {self.size}: take less")

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw the square's ``rows`` and ``columns``, int64[n, size], clipped ones repeating the last.

        The size is limited to twice the image's, which covers the image from any center.
        """
        uniform, full = uniforms(keys, "cutout", 2), max(1, round(self.size * keys.resolution))
        drawn: dict[str, NDArray[np.generic]] = {}
        for name, toss, count in (("rows", uniform[:, 0], height), ("columns", uniform[:, 1], width)):
            size = min(full, 2 * count)
            positions = np.arange(size) - size // 2
            drawn[name] = np.clip(integers(toss, count)[:, None] + positions, 0, count - 1)
        return drawn

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Set the squares to 0."""
        out = to_pixels(images).clone()
        n, height, width, channels = out.shape
        image = torch.arange(n, device=out.device)[:, None]
        first = (image * height + draws["rows"]).mul_(width)
        positions = first[:, :, None] + draws["columns"][:, None, :]
        out.view(-1, channels).index_fill_(0, positions.view(-1), 0)
        return to_images(out)
