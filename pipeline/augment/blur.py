"""Gaussian blur of random width, applied to some of the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from pipeline.augment.chance import check_probability
from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.errors import DataError
from pipeline.ops.memory import rework, to_images, to_pixels
from pipeline.ops.separable import smooth
from pipeline.randomness import Keys, sample_doubles


@dataclass(frozen=True)
class Blur:
    """Gaussian blur of some images, with a width drawn per image, and reflection at the borders.

    The kernel's length is the same for all images: 23 pixels at 224, as in SimCLR (Chen et al., ICML 2020).
    """

    probability: float = 0.5
    """Probability that an image is blurred."""
    sigma: tuple[float, float] = (0.1, 2.0)
    """Smallest and largest standard deviation of the Gaussian, in pixels at full resolution."""
    kernel: int | None = None
    """Length of the kernel in pixels at full resolution, an odd number; by default a tenth of the shorter
    side, at least 3."""

    domain: ClassVar[Domain] = "uint8"
    eight_bits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_probability(self.probability)
        if not 0 < self.sigma[0] <= self.sigma[1] < float("inf"):
            raise DataError(f"sigma must be two numbers above 0, smaller first; got {self.sigma}")
        if self.kernel is not None and (self.kernel < 1 or self.kernel % 2 == 0):
            raise DataError(f"kernel must be an odd number of pixels; got {self.kernel}")

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw the indices of blurred images, ``blurred/at`` int64[m], and their kernels.

        ``blurred/kernel`` float32[m, k] holds the kernel's central weight and those on one side.
        """
        uniform = sample_doubles(keys, "blur", 2)
        at = np.flatnonzero(uniform[:, 0] < self.probability)
        low, high = self.sigma
        sigma = (low + (high - low) * uniform[at, 1]) * keys.resolution
        side = min(height, width)
        default = max(1, side // 10 // 2)
        reach = default if self.kernel is None else round(self.kernel // 2 * keys.resolution)
        # A small image has no pixels beyond one reflection.
        away = np.arange(min(reach, side - 1) + 1)
        weights = np.exp(-0.5 * (away / sigma[:, None]) ** 2)
        weights /= 2 * weights.sum(axis=1, keepdims=True) - 1
        return {"blurred/at": at, "blurred/kernel": weights.astype(np.float32)}

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Blur the images drawn."""
        out = to_pixels(images).clone()
        rework(out, draws["blurred/at"], draws["blurred/kernel"], smooth)
        return to_images(out)
