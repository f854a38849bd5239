"""Random crop with padding and random flip: the standard augmentation of small images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.errors import DataError
from pipeline.ops.memory import gather_runs, to_images, to_pixels
from pipeline.randomness import Keys, integers, uniforms

_MOST_PADDING = 256
"""Limits memory: a batch of padded images is held at a time."""


@dataclass(frozen=True)
class Standard:
    """Pad, crop randomly to the image's size, flip horizontally at random.

    The padding is black, 0 before normalization, as in Arazo et al. (2021), section 4.1.
    """

    padding: int = 4
    """Pixels of padding on each side before the crop, at full resolution."""
    flip: bool = True
    """Flip half of the images horizontally; off for digits and signs (SVHN)."""
    fill: Literal["black", "reflect"] = "black"
    """Content of the padding. reflect: the image mirrored at its border, without the border's own pixels."""
    alternate: bool = False
    """Flip each image in every other round: drawn at random for the first, once and for all (Jordan 2024).
    With rounds that show every image, each two rounds show it from both sides."""

    domain: ClassVar[Domain] = "uint8"

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise DataError(f"padding must be at least 0 pixels; got {self.padding}")
        if self.padding > _MOST_PADDING:
            raise DataError(
                f"padding must be at most {_MOST_PADDING} pixels; got {self.padding}: an eighth of the "
                "image's side is usual"
            )
        if self.alternate and not self.flip:
            raise DataError("alternate is about flips, and flip is off: leave either out")

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw ``top`` and ``left``, int64[n] in [0, 2 * padding], and ``flip``, bool[n].

        At a lower resolution the shift scales with the image: it is drawn from fewer positions, around the
        center.

        Raises
        ------
        DataError
            When images are too small to be reflected that far.
        """
        if self.fill == "reflect" and self.padding >= min(height, width):
            raise DataError(
                f"padding by reflection must be less than the image's side of {min(height, width)} pixels; "
                f"got {self.padding}"
            )
        uniform = uniforms(keys, "standard", 3)
        reach = round(self.padding * min(1.0, keys.resolution))
        positions, first = 2 * reach + 1, self.padding - reach
        return {
            "top": first + integers(uniform[:, 0], positions),
            "left": first + integers(uniform[:, 1], positions),
            "flip": self._alternating(keys) if self.alternate else (uniform[:, 2] < 0.5) & self.flip,
        }

    def _alternating(self, keys: Keys) -> NDArray[np.bool_]:
        """Return whether to flip each image: as drawn for the sample, and the other way in odd rounds.

        A sample's further occurrences in a round alternate, too.
        """
        once = replace(keys, round=0, occurrences=np.zeros_like(keys.occurrences))
        drawn = uniforms(once, "standard/alternate", 1)[:, 0] < 0.5
        odd: NDArray[np.bool_] = (keys.round + keys.occurrences) % 2 == 1
        return drawn ^ odd

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Crop the padded image at (top, left), then flip.

        The flipped crop is a crop of the flipped image, so that flipping is part of the same copy.
        """
        pixels = to_pixels(images)
        n, height, width, channels = pixels.shape
        pad = self.padding
        sides = 2 if self.flip else 1
        canvas = pixels.new_zeros((sides, n, height + 2 * pad, width + 2 * pad, channels))
        canvas[0, :, pad : pad + height, pad : pad + width] = pixels
        image = torch.arange(n, device=pixels.device)
        left = draws["left"]
        if self.flip:
            canvas[1, :, pad : pad + height, pad : pad + width] = _mirrored(pixels, 2)
            image = image + draws["flip"] * n
            left = torch.where(draws["flip"], 2 * pad - left, left)
        if self.fill == "reflect" and pad:
            _reflect(canvas, 3, pad)
            _reflect(canvas, 2, pad)
        first = (image * (height + 2 * pad) + draws["top"]) * (width + 2 * pad) + left
        rows = torch.arange(height, device=pixels.device) * (width + 2 * pad)
        starts = (first[:, None] + rows).view(-1)
        crops = gather_runs(canvas.view(-1, channels), starts, width)
        return to_images(crops.view(n, height, width, channels))


def _reflect(canvas: Tensor, dim: int, pad: int) -> None:
    """Fill ``pad`` lines at both ends of a dimension with the mirror images of those beside them."""
    inner = canvas.shape[dim] - 2 * pad
    canvas.narrow(dim, 0, pad).copy_(_mirrored(canvas.narrow(dim, pad + 1, pad), dim))
    canvas.narrow(dim, pad + inner, pad).copy_(_mirrored(canvas.narrow(dim, inner - 1, pad), dim))


def _mirrored(pixels: Tensor, dim: int) -> Tensor:
    """Mirror levels along a dimension."""
    if pixels.dtype == torch.uint16:
        # Older versions of PyTorch don't flip these.
        return pixels.view(torch.int16).flip(dim).view(torch.uint16)
    return pixels.flip(dim)
