"""GoogLeNet for small images: a 3x3 stem of stride 1, nine inception blocks with batch normalization."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.models.protocol import classifier

_STEM = 192

_Widths = tuple[int, int, int, int, int, int]
"""Outputs of the 1x1 path, the 3x3 path's reduction and outputs, the 5x5 path's, and the pooled path's."""

_STAGES: tuple[tuple[_Widths, ...], ...] = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Szegedy et al. (2015), table 1: inception 3a to 5b. Between stages maps are halved."""


class Inception(nn.Module):
    """Four paths side by side: 1x1, 3x3, 5x5 as two 3x3, and pooling; their maps are concatenated."""

    def __init__(self, channels: int, widths: _Widths) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pooled = widths
        self.one = _convolution(channels, one, 1)
        self.three = nn.Sequential(_convolution(channels, reduce3, 1), _convolution(reduce3, three, 3))
        self.five = nn.Sequential(
            _convolution(channels, reduce5, 1), _convolution(reduce5, five, 3), _convolution(five, five, 3)
        )
        self.pooled = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), _convolution(channels, pooled, 1))
        self.channels = one + three + five + pooled

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, channels, H, W] to [n, sum of the paths' outputs, H, W]."""
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pooled(x)], dim=1)


def _convolution(channels: int, out: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, padding=kernel // 2), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )


class GoogLeNetNetwork(nn.Module):
    """Stem, stages of inception blocks, mean over the plane, one linear layer.

    Weights start from torch's own distributions.

    Parameters
    ----------
    classes
        Number of outputs; 0 for features.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = _convolution(3, _STEM, 3)
        channels, stages = _STEM, []
        for index, stage in enumerate(_STAGES):
            blocks: list[nn.Module] = [] if index == 0 else [nn.MaxPool2d(3, stride=2, padding=1)]
            for widths in stage:
                block = Inception(channels, widths)
                blocks.append(block)
                channels = block.channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.num_features = channels
        self.head = classifier(channels, classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last block's maps, float[n, 1024, h, w], of images [n, 3, H, W]."""
        maps: Tensor = self.stages(self.stem(x))
        return maps

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return outputs, float[n, classes], of maps, or their means, float[n, 1024]."""
        means = x.mean(dim=(2, 3))
        outputs: Tensor = means if pre_logits else self.head(means)
        return outputs

    def get_classifier(self) -> nn.Module:
        """Return the linear layer."""
        return self.head

    def forward(self, images: Tensor) -> Tensor:
        """Return outputs, float[n, classes], of images [n, 3, H, W]."""
        return self.forward_head(self.forward_features(images))


@dataclass(frozen=True)
class GoogLeNet:
    """GoogLeNet with a 3x3 stride-1 stem and batch normalization, without auxiliary classifiers.

    Szegedy et al. (2015) in the form that is usual on CIFAR: 32 px reach the inception blocks as they are,
    and a 5x5 convolution is two of 3x3. The one for 224 px is torchvision's, `--model.arch googlenet`.
    """

    def build(self, classes: int) -> GoogLeNetNetwork:
        """Make the network: see ``ModelConfig.build``."""
        return GoogLeNetNetwork(classes)
