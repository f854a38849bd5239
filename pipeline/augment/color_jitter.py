"""Color jitter: random brightness, contrast, saturation and hue, in random order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.chance import check_probability
from pipeline.augment.operations import Floats, apply_layers, draw_layer
from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.errors import DataError
from pipeline.ops.memory import to_images, to_pixels
from pipeline.randomness import Keys, sample_doubles

_NAMES = ("brightness", "contrast", "color", "hue", "identity")


@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast, saturation and hue of each sample, by random amounts in random order.

    Factors are uniform in [max(0, 1 - strength), 1 + strength], the hue shift in [-hue, hue], as in
    torchvision. The defaults are the usual ones of self-supervised learning.
    """

    brightness: float = 0.4
    """Strength of the change in brightness."""
    contrast: float = 0.4
    """Strength of the change in contrast."""
    saturation: float = 0.4
    """Strength of the change in saturation."""
    hue: float = 0.1
    """Maximum hue shift in full turns, at most .5."""
    probability: float = 0.8
    """Probability that an image is changed."""

    domain: ClassVar[Domain] = "uint8"
    eight_bits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_probability(self.probability)
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise DataError(f"{name} must be at least 0 and finite; got {getattr(self, name)}")
        if not 0 <= self.hue <= 0.5:
            raise DataError(f"hue must be in [0, 0.5] turns; got {self.hue}")

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw a layer (`draw_layer`) for each position k in the order, with names ``k/...``."""
        values, applied, order = self._choices(sample_doubles(keys, "color_jitter", 9), keys.magnitude)
        nowhere = np.zeros((len(keys), 2))
        drawn: dict[str, NDArray[np.generic]] = {}
        for place in range(4):
            which = order[:, place]
            value = np.take_along_axis(values, which[:, None], axis=1)[:, 0]
            choice = np.where(np.take_along_axis(applied, which[:, None], axis=1)[:, 0], which, 4)
            for name, array in draw_layer(_NAMES, choice, value, nowhere, height, width).items():
                drawn[f"{place}/{name}"] = array
        return drawn

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply the changes in sequence."""
        prefixes = [f"{place}/" for place in range(4)]
        return to_images(apply_layers(to_pixels(images), draws, prefixes))

    def _choices(
        self, uniform: Floats, magnitude: float
    ) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
        """Return value, use and order of the four changes, each [n, 4], from uniforms float64[n, 9]."""
        strength = np.array([self.brightness, self.contrast, self.saturation, self.hue]) * magnitude
        turn = min(strength[3], 0.5)
        low = np.append(np.maximum(0, 1 - strength[:3]), -turn)
        high = np.append(1 + strength[:3], turn)
        values = low + (high - low) * uniform[:, :4]
        applied = (uniform[:, 8:] < self.probability) & (strength > 0)
        return values, applied, np.argsort(uniform[:, 4:8], axis=1)
