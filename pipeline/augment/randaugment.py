"""RandAugment: a few random operations for every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.operations import Floats, apply_layers, draw_layer
from pipeline.augment.protocol import Domain, HostArrays
from pipeline.augment.rows import to_images, to_pixels
from pipeline.augment.spaces import BINS, Space, modern, original
from pipeline.batch import Draws
from pipeline.errors import DataError
from pipeline.randomness import Keys, integers, sample_doubles


@dataclass(frozen=True)
class Randaugment:
    """Apply a few operations to each sample, drawn from a list, all at one magnitude.

    Cubuk et al., 2020. ``original`` is the list of 16 that the budgeted-training paper uses (000), where some
    operations grow weaker with the magnitude, so that magnitude 4 is strong. ``modern`` is torchvision's
    list of 14, which all grow stronger; the magnitude that a run's resolution brings scales this one's alone.
    Operations are drawn with replacement, one draw a sample. Stands before crop and flip.
    """

    operations: int = 2
    """Operations a sample."""
    magnitude: int | None = None
    """From 0 to 30; by default 4 for the original list, as in the paper, and 9 for the modern one."""
    space: Literal["original", "modern"] = "original"
    """Which list of operations."""

    domain: ClassVar[Domain] = "uint8"

    def __post_init__(self) -> None:
        if self.operations < 1:
            raise DataError(f"operations must be at least 1 a sample; got {self.operations}")
        if self.magnitude is not None and not 0 <= self.magnitude <= 30:
            raise DataError(f"magnitude must be in [0, 30]; got {self.magnitude}")
        if self.space not in ("original", "modern"):
            raise DataError(f"space must be original or modern; got {self.space!r}")

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw for every layer k what `draw_layer` gives, named ``k/...``."""
        if self.space == "original":
            space, default, scale = original(keys.resolution), 4, 1.0
        else:
            space, default, scale = modern(height, width), 9, keys.magnitude
        magnitude = default if self.magnitude is None else self.magnitude
        bin_ = min(round(magnitude * scale), BINS - 1)
        drawn: dict[str, NDArray[np.generic]] = {}
        for layer in range(self.operations):
            uniform = sample_doubles(keys, f"randaugment/{layer}", 4)
            bins = np.full(len(keys), bin_)
            for name, array in draw_from(space, uniform, bins, height, width).items():
                drawn[f"{layer}/{name}"] = array
        return drawn

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply one layer after the other."""
        prefixes = [f"{layer}/" for layer in range(self.operations)]
        return to_images(apply_layers(to_pixels(images), draws, prefixes))


def draw_from(
    space: Space, uniform: Floats, bins: NDArray[np.int64], height: int, width: int
) -> dict[str, NDArray[np.generic]]:
    """Choose operations, look up their values at ``bins``, and toss for the sign.

    Parameters
    ----------
    uniform
        float64[n, 4]: operation, sign, and two for a place.
    """
    choice = integers(uniform[:, 0], len(space.names))
    sign = np.where(space.signed[choice] & (uniform[:, 1] < 0.5), -1.0, 1.0)
    values = space.neutral[choice] + sign * space.values[choice, bins]
    return draw_layer(space.names, choice, values, uniform[:, 2:], height, width)
