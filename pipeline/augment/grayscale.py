"""Grayscale conversion of some of the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from pipeline.augment.chance import check_probability
from pipeline.augment.operations import apply_layers, draw_chance
from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.ops.memory import to_images, to_pixels
from pipeline.randomness import Keys, uniforms


@dataclass(frozen=True)
class Grayscale:
    """Replace the colors of some images by their luminance, in all three channels."""

    probability: float = 0.2
    """Probability that an image is converted."""

    domain: ClassVar[Domain] = "uint8"
    eight_bits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_probability(self.probability)

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw a layer (`pipeline.augment.operations.draw_layer`) of color at factor 0."""
        applied = uniforms(keys, "grayscale", 1)[:, 0] < self.probability
        return draw_chance("color", applied, np.zeros(len(keys)), height, width)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Convert the images drawn."""
        return to_images(apply_layers(to_pixels(images), draws, ("",)))
