"""Adapter: a user's transform of image batches as an augmentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.errors import DataError
from pipeline.randomness import Keys


@dataclass(frozen=True)
class Transform:
    """Apply a function of uint8 images, such as one of torchvision's v2 transforms.

    It uses its own random numbers: torchvision draws from torch's global generator, so its results are not
    reproduced when a run resumes, unlike the rest of a chain. It may synchronize with the device.
    """

    function: Callable[[Tensor], Tensor]
    """From uint8[n, C, H, W] to the same shape; from uint8[C, H, W] with ``per_sample``."""
    per_sample: bool = False
    """Call it once per image, so that each has its own parameters: torchvision draws once per call."""

    domain: ClassVar[Domain] = "uint8"
    eight_bits: ClassVar[bool] = True

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw nothing."""
        return {}

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Call the function.

        Raises
        ------
        DataError
            If it returns anything but uint8 images of the input's shape.
        """
        if images.shape[0] == 0:
            return images
        out = (
            torch.stack([self.function(one) for one in images]) if self.per_sample else self.function(images)
        )
        if out.shape != images.shape or out.dtype != torch.uint8:
            raise DataError(
                f"a transform in a chain must keep the shape {tuple(images.shape)} and dtype uint8; "
                f"{self.function!r} returned {tuple(out.shape)} and {out.dtype}"
            )
        return out.contiguous(memory_format=torch.channels_last)
