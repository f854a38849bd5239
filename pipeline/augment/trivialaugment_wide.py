"""TrivialAugment: one random operation at a random magnitude per sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pipeline.augment.operations import apply_layers
from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.augment.randaugment import draw_from
from pipeline.augment.spaces import BINS, wide
from pipeline.ops.memory import to_images, to_pixels
from pipeline.randomness import Keys, integers, sample_doubles


@dataclass(frozen=True)
class TrivialaugmentWide:
    """Apply one of 14 operations to each sample, at one of 31 magnitudes, both drawn uniformly.

    Müller and Hutter, ICCV 2021, in the wide space: nothing to tune. Use before crop and flip.
    """

    domain: ClassVar[Domain] = "uint8"
    eight_bits: ClassVar[bool] = True

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw a layer (`pipeline.augment.operations.draw_layer`)."""
        uniform = sample_doubles(keys, "trivialaugment_wide", 5)
        return draw_from(wide(keys.resolution), uniform[:, :4], integers(uniform[:, 4], BINS), height, width)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply each sample's operation."""
        return to_images(apply_layers(to_pixels(images), draws, ("",)))
