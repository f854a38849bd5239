"""Random crop with padding and random flip: the standard augmentation of small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.errors import DataError
from pipeline.ops.memory import gather_runs, to_images, to_pixels
from pipeline.randomness import Keys, integers, uniforms

_MOST_PADDING = 256
"""Limits memory: a batch of padded images is held at a time."""


@dataclass(frozen=True)
class Standard:
    """Pad with black, crop randomly to the image's size, flip horizontally at random.

    The padding is 0 before normalization, as in Arazo et al. (2021), section 4.1.
    """

    padding: int = 4
    """Pixels of black padding on each side before the crop, at full resolution."""
    flip: bool = True
    """Flip half of the images horizontally; off for digits and signs (SVHN)."""

    domain: ClassVar[Domain] = "uint8"

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise DataError(f"padding must be at least 0 pixels; got {self.padding}")
        if self.padding > _MOST_PADDING:
            raise DataError(
                f"padding must be at most {_MOST_PADDING} pixels; got {self.padding}: an eighth of the "
                "image's side is usual"
            )

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw ``top`` and ``left``, int64[n] in [0, 2 * padding], and ``flip``, bool[n].

        At a lower resolution the shift scales with the image: it is drawn from fewer positions, around the
        center.
        """
        uniform = uniforms(keys, "standard", 3)
        reach = round(self.padding * min(1.0, keys.resolution))
        positions, first = 2 * reach + 1, self.padding - reach
        return {
            "top": first + integers(uniform[:, 0], positions),
            "left": first + integers(uniform[:, 1], positions),
            "flip": (uniform[:, 2] < 0.5) & self.flip,
        }

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
            canvas[1, :, pad : pad + height, pad : pad + width] = _mirrored(pixels)
            image = image + draws["flip"] * n
            left = torch.where(draws["flip"], 2 * pad - left, left)
        first = (image * (height + 2 * pad) + draws["top"]) * (width + 2 * pad) + left
        rows = torch.arange(height, device=pixels.device) * (width + 2 * pad)
        starts = (first[:, None] + rows).view(-1)
        crops = gather_runs(canvas.view(-1, channels), starts, width)
        return to_images(crops.view(n, height, width, channels))


def _mirrored(pixels: Tensor) -> Tensor:
    """Mirror levels [n, H, W, C] along their rows."""
    if pixels.dtype == torch.uint16:
        # Older versions of PyTorch don't flip these.
        return pixels.view(torch.int16).flip(2).view(torch.uint16)
    return pixels.flip(2)
