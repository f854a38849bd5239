"""Test-time augmentation: outputs averaged over mirrored and shifted copies of each image."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Copies = Literal["none", "mirror", "mirror_translate"]

_SHIFT = 1
"""Pixels by which copies are shifted."""


class Averaged(nn.Module):
    """A network whose outputs are the mean over copies of each image, as Jordan (2024) averages them.

    mirror: the image and its mirror image. mirror_translate: half of the weight for these two, the other half
    for each shifted by a pixel up and left, and down and right; what is shifted in is the image reflected at
    its border. Outputs, as logits, are averaged.

    Parameters
    ----------
    network
        From images [n, C, H, W] to outputs [n, classes].
    unsure
        Fraction of each batch that is shown in all copies: the images whose two highest outputs are closest.
        The others are answered by the image itself.
    """

    def __init__(self, network: nn.Module, copies: Copies, unsure: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.training = network.training
        self._copies = copies
        self._unsure = unsure

    def forward(self, images: Tensor) -> Tensor:
        """Return outputs [n, classes] of images [n, C, H, W]."""
        if self._copies == "none":
            outputs: Tensor = self.network(images)
            return outputs
        if self._unsure == 1:
            return self._mean(images, self.network(images))
        outputs = self.network(images)
        highest = outputs.topk(min(2, outputs.shape[1]), dim=1).values
        count = math.ceil(self._unsure * len(images))
        margins = highest[:, 0] - highest[:, -1]
        chosen = torch.argsort(margins, stable=True)[:count]
        # index_select on [n, C, H, W] would return images that are channels first in memory.
        shown = images.permute(0, 2, 3, 1).index_select(0, chosen).permute(0, 3, 1, 2)
        return outputs.index_copy(0, chosen, self._mean(shown, outputs.index_select(0, chosen)))

    def _mean(self, images: Tensor, outputs: Tensor) -> Tensor:
        """Return the weighted mean over all copies, of which ``outputs`` are the images' own."""
        mean: Tensor = 0.5 * outputs + 0.5 * self.network(images.flip(3))
        if self._copies == "mirror":
            return mean
        height, width = images.shape[2:]
        padded = F.pad(images, (_SHIFT,) * 4, "reflect")
        shifted = [padded[:, :, at : at + height, at : at + width] for at in (0, 2 * _SHIFT)]
        both: list[Tensor] = [0.5 * self.network(x) + 0.5 * self.network(x.flip(3)) for x in shifted]
        return 0.5 * mean + 0.25 * (both[0] + both[1])
