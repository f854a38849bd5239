"""Mixup: blends two images and their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from pipeline.augment.beta import check_alpha, draw_beta
from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.mixture import CreditedTo, Mixture, check_credited_to
from pipeline.ops.memory import to_images, to_pixels
from pipeline.randomness import Keys, permutation


@dataclass(frozen=True)
class Mixup:
    """Blend each image with another of the batch: lambda * image + (1 - lambda) * other.

    lambda ~ Beta(alpha, alpha), one per batch (Zhang et al., ICLR 2018; Arazo et al. 2021, section 4.5, with
    alpha .3). The other image is chosen by a permutation of the batch (of this rank's slice of it, under data
    parallelism).
    """

    alpha: float = 0.3
    """Parameter of the beta distribution: small values blend little; 1 makes lambda uniform."""
    per_sample: bool = False
    """Draw lambda per image instead of one per batch."""

    feedback: CreditedTo = "constituents"
    """Whose error a mixed image reports: of its constituents, each by its coefficient, or by position, of the
    batch's i-th sample for the i-th image, as in the code released by Arazo et al. (2021)."""

    domain: ClassVar[Domain] = "float"
    patches: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_credited_to(self.feedback)

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw ``partner``, int64[n], indices into the batch, and ``coefficient``, float32[n]: lambda."""
        coefficient = draw_beta(keys, "mixup/share", self.alpha, per_sample=self.per_sample)
        return {"partner": permutation(keys, "mixup/partner"), "coefficient": coefficient.astype(np.float32)}

    def constituents(self, draws: HostArrays) -> Mixture:
        """Return the image itself with coefficient lambda, and its partner with 1 - lambda."""
        mixture = Mixture.of_pairs(draws["partner"], draws["coefficient"])
        return mixture.by_position() if self.feedback == "position" else mixture

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Blend the images."""
        pixels = to_pixels(images)
        mine = pixels.flatten(1)
        others = torch.index_select(mine, 0, draws["partner"])
        coefficient = draws["coefficient"].to(mine.dtype)[:, None]
        return to_images(torch.lerp(others, mine, coefficient).view_as(pixels))
