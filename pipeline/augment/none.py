"""none: the identity augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.randomness import Keys


@dataclass(frozen=True)
class NoAugment:
    """Leave images unchanged."""

    domain: ClassVar[Domain] = "any"

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw nothing."""
        return {}

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Return the images."""
        return images
