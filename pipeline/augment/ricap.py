"""RICAP: random crops of four images patched together, with mixed labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.augment.beta import check_alpha, draw_beta
from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.mixture import CreditedTo, Mixture, check_credited_to
from pipeline.ops.memory import byte_columns, choose, gather_runs, to_bytes, to_images, to_pixels
from pipeline.randomness import Keys, batch_uniforms, integers, permutation, sample_doubles


@dataclass(frozen=True)
class Ricap:
    """Compose each image from crops of four images around a random point; labels are weighted by area.

    w = round(W * Beta(alpha, alpha)) and h = round(H * Beta(alpha, alpha)), one of each per batch (Takahashi,
    Matsubara, Uehara, 2018; Arazo et al. 2021, section 4.5). Patch k of w_k x h_k pixels is cropped at a
    random position from the image given by the k-th permutation of the batch (of this rank's slice of it,
    under data parallelism).
    """

    alpha: float = 0.3
    """Parameter of the beta distribution: small values make one patch large, large ones all four equal."""
    per_sample: bool = False
    """Draw the point and the crops' positions per image instead of once per batch."""

    feedback: CreditedTo = "constituents"
    """Whose error a mixed image reports: of its constituents, each by its coefficient, or by position, of the
    batch's i-th sample for the i-th image, as in the code released by Arazo et al. (2021)."""

    domain: ClassVar[Domain] = "any"
    patches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_credited_to(self.feedback)

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw the layout; patches are numbered row by row from the top left.

        ``partners`` int64[n, 4], ``width`` and ``height`` int64[n] of the first patch, ``left`` and ``top``
        int64[n, 4] of the crops in their images, ``coefficients`` float32[n, 4].
        """
        fraction_w = draw_beta(keys, "ricap/width", self.alpha, per_sample=self.per_sample)
        fraction_h = draw_beta(keys, "ricap/height", self.alpha, per_sample=self.per_sample)
        w = np.rint(width * fraction_w).astype(np.int64)
        h = np.rint(height * fraction_h).astype(np.int64)
        widths = np.stack([w, width - w, w, width - w], axis=1)
        heights = np.stack([h, h, height - h, height - h], axis=1)
        if self.per_sample:
            positions = sample_doubles(keys, "ricap/places", 8)
        else:
            positions = np.broadcast_to(batch_uniforms(keys, "ricap/places", 8), (len(keys), 8))
        partners = [permutation(keys, f"ricap/partner/{k}") for k in range(4)]
        return {
            "partners": np.stack(partners, axis=1),
            "width": w,
            "height": h,
            "left": integers(positions[:, :4], width - widths + 1),
            "top": integers(positions[:, 4:], height - heights + 1),
            "coefficients": (widths * heights / (width * height)).astype(np.float32),
        }

    def constituents(self, draws: HostArrays) -> Mixture:
        """Return the four images with their patches' area fractions."""
        partners, areas = draws["partners"], draws["coefficients"]
        mixture = Mixture.of(partners.astype(np.int64, copy=False), areas.astype(np.float32, copy=False))
        return mixture.by_position() if self.feedback == "position" else mixture

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Assemble the patches.

        A row is a run of the left patch up to column w and a run of the right one from there on. Both runs
        are copied at full width, shifted into position, and combined by a bit mask, so that shapes don't
        depend on the draws. A margin of one row at both ends of memory holds what a shift moves outside.
        """
        pixels = to_pixels(images)
        n, height, width, channels = pixels.shape
        memory = F.pad(pixels.view(-1, channels), (0, 0, width, width))
        row = torch.arange(height, device=pixels.device)
        w, h = draws["width"][:, None], draws["height"][:, None]
        # Start of patch k's run for output row 0, as if the patch extended there.
        base = (draws["partners"] * height + draws["top"]) * width + draws["left"] + width
        lower = (row >= h)[:, None]
        upper_base, lower_base = base[:, :2, None], base[:, 2:, None] - (h * width)[:, None]
        shift = torch.cat([torch.zeros_like(w), w], dim=1)[:, :, None]
        starts = torch.where(lower, lower_base, upper_base) - shift + row * width
        runs = gather_runs(memory, starts.transpose(0, 1).reshape(-1), width)
        left, right = runs.view(2, n, height, width, channels).unbind(0)
        mask = byte_columns(pixels, torch.zeros_like(draws["width"]), draws["width"])
        patched = choose(mask, to_bytes(left), to_bytes(right))
        return to_images(patched.view(pixels.dtype).view_as(pixels))
