"""Solarize: inverts bright levels in some of the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from pipeline.augment.chance import check_probability
from pipeline.augment.operations import apply_layers, draw_chance
from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.errors import DataError
from pipeline.ops.memory import to_images, to_pixels
from pipeline.randomness import Keys, uniforms


@dataclass(frozen=True)
class Solarize:
    """Invert all levels at or above a threshold, in some of the images."""

    probability: float = 0.2
    """Probability that an image is solarized."""
    threshold: int = 128
    """Lowest level that is inverted, from 0 to 256."""

    domain: ClassVar[Domain] = "uint8"
    eight_bits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_probability(self.probability)
        if not 0 <= self.threshold <= 256:
            raise DataError(f"threshold must be a level in [0, 256]; got {self.threshold}")

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw a layer (`pipeline.augment.operations.draw_layer`)."""
        applied = uniforms(keys, "solarize", 1)[:, 0] < self.probability
        return draw_chance("solarize", applied, np.full(len(keys), float(self.threshold)), height, width)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Solarize the images drawn."""
        return to_images(apply_layers(to_pixels(images), draws, ("",)))
