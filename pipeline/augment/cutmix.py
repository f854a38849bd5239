"""CutMix: pastes a rectangle of another image, and mixes the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from pipeline.augment.beta import check_alpha, draw_beta
from pipeline.augment.chance import check_probability
from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.mixture import CreditedTo, Mixture, check_credited_to
from pipeline.ops.memory import byte_rectangle, choose, to_bytes, to_images, to_pixels
from pipeline.randomness import Keys, batch_uniforms, integers, permutation, sample_doubles


@dataclass(frozen=True)
class Cutmix:
    """Paste a random rectangle of another image at the same position; labels are weighted by area.

    The rectangle has sides W sqrt(1 - lambda) and H sqrt(1 - lambda), rounded down, with lambda ~ Beta(alpha,
    alpha), around a point drawn uniformly from the image, and is clipped at its borders; the other image's
    coefficient is the area after clipping (Yun et al., ICCV 2019). One rectangle per batch, and partners by a
    permutation of the batch (of this rank's slice of it, under data parallelism).

    A side of s pixels extends from s // 2 pixels before the point to s - s // 2 after it, so that inside the
    image it is s long, as the paper's W sqrt(1 - lambda). The released code extends s // 2 both ways: its
    odd sides are one pixel shorter. Both compute coefficients from the area pasted, so labels are consistent.
    """

    alpha: float = 1.0
    """Parameter of the beta distribution: 1 makes the area uniform."""
    probability: float = 1.0
    """Probability that images are mixed; the paper uses .5 for CIFAR and 1 for ImageNet."""
    per_sample: bool = False
    """Draw a rectangle per image instead of one per batch."""

    feedback: CreditedTo = "constituents"
    """Whose error a mixed image reports: of its constituents, each by its coefficient, or by position, of the
    batch's i-th sample for the i-th image, as in the code released by Arazo et al. (2021)."""

    domain: ClassVar[Domain] = "any"
    patches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_credited_to(self.feedback)
        check_probability(self.probability)

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw ``partner`` int64[n], the rectangle's ``top``, ``bottom``, ``left``, ``right`` int64[n].

        ``coefficient`` float32[n] is the area fraction that remains of the image itself. An image that isn't
        mixed has an empty rectangle.
        """
        coefficient = draw_beta(keys, "cutmix/share", self.alpha, per_sample=self.per_sample)
        if self.per_sample:
            chance = sample_doubles(keys, "cutmix/place", 3)
        else:
            chance = np.broadcast_to(batch_uniforms(keys, "cutmix/place", 3), (len(keys), 3))
        side = np.sqrt(1 - coefficient) * (chance[:, 2] < self.probability)
        rows, columns = (height * side).astype(np.int64), (width * side).astype(np.int64)
        y, x = integers(chance[:, 0], height), integers(chance[:, 1], width)
        top, left = np.maximum(y - rows // 2, 0), np.maximum(x - columns // 2, 0)
        bottom, right = (
            np.minimum(y + rows - rows // 2, height),
            np.minimum(x + columns - columns // 2, width),
        )
        area = (bottom - top) * (right - left)
        return {
            "partner": permutation(keys, "cutmix/partner"),
            "top": top,
            "bottom": bottom,
            "left": left,
            "right": right,
            "coefficient": (1 - area / (height * width)).astype(np.float32),
        }

    def constituents(self, draws: HostArrays) -> Mixture:
        """Return the image itself with its remaining area fraction, and its partner with the rectangle's."""
        mixture = Mixture.of_pairs(draws["partner"], draws["coefficient"])
        return mixture.by_position() if self.feedback == "position" else mixture

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Paste the rectangles."""
        pixels = to_pixels(images)
        others = torch.index_select(pixels, 0, draws["partner"])
        mask = byte_rectangle(pixels, draws["top"], draws["bottom"], draws["left"], draws["right"])
        mixed = choose(mask, to_bytes(others), to_bytes(pixels))
        return to_images(mixed.view(pixels.dtype).view_as(pixels))
