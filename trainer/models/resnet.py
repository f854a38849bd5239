"""Residual networks for small images: a 3x3 stem of stride 1, no max-pool, post-activation blocks.

The networks of He et al. (2016) with the stem that budgeted training uses on CIFAR (Arazo et al. 2021).
ResNet-8 is the same recipe cut to three stages of one block each, small enough to train on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from trainer.errors import RunError
from trainer.models.blocks import Checkpointed, recomputed
from trainer.models.protocol import classifier

_MOST_WIDTH = 4096
"""Maximum width; a ResNet-18 of it has 46 billion weights."""


class ResNet(Checkpointed, nn.Module):
    """Stem, stages, mean over the plane, one linear layer.

    Convolutions start from He et al.'s (2015) normal distribution in its fan-out form, batch normalization
    from scale 1 and shift 0, the linear layer from torch's own uniform distribution: all as torchvision's
    ResNets do.

    Parameters
    ----------
    block
        ``BasicBlock`` or ``Bottleneck``.
    depths
        Blocks per stage. The first stage keeps the resolution, each later one halves it.
    width
        Channels of the stem and of the first stage; each later stage doubles them.
    classes
        Number of outputs; 0 for features.
    """

    def __init__(
        self, block: type[BasicBlock | Bottleneck], depths: Sequence[int], width: int, classes: int
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        channels = width
        for stage, depth in enumerate(depths):
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(channels, width * 2**stage, stride))
                channels = width * 2**stage * block.expansion
        self.blocks = nn.Sequential(*blocks)
        self.num_features = channels
        self.head = classifier(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last stage's maps, float[n, d, h, w], of images [n, 3, H, W]."""
        x = self.stem(x)
        maps: Tensor = recomputed(self.blocks, x) if self.checkpointed else self.blocks(x)
        return maps

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits, float[n, classes], of maps, or their means, float[n, d]."""
        means = x.mean(dim=(2, 3))
        logits: Tensor = means if pre_logits else self.head(means)
        return logits

    def get_classifier(self) -> nn.Module:
        """Return the linear layer."""
        return self.head

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, float[n, classes], of images [n, 3, H, W]."""
        return self.forward_head(self.forward_features(images))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, activated after the sum."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, channels, H, W] to [n, width, H/stride, W/stride]."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        y += self.shortcut(x)
        return F.relu(y, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut, activated after the sum; the 3x3 one carries the stride."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(width * self.expansion)
        self.shortcut = _shortcut(channels, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, channels, H, W] to [n, 4 * width, H/stride, W/stride]."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = F.relu(self.norm2(self.conv2(y)), inplace=True)
        y = self.norm3(self.conv3(y))
        y += self.shortcut(x)
        return F.relu(y, inplace=True)


def _shortcut(channels: int, out: int, stride: int) -> nn.Module:
    """Return the identity if the shapes agree, else a 1x1 convolution (He et al.'s option B)."""
    if stride == 1 and channels == out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))


def _check_width(width: int) -> None:
    if width < 1:
        raise RunError(f"width must be at least 1 channel; got {width}")
    if width > _MOST_WIDTH:
        raise RunError(f"width must be at most {_MOST_WIDTH} channels; got {width}: 64 are usual")


@dataclass(frozen=True)
class ResNet8:
    """ResNet-8: three stages of one basic block each, small enough for CPUs."""

    width: int = 16
    """Channels of the first stage; the others have 2 and 4 times as many."""

    def __post_init__(self) -> None:
        _check_width(self.width)

    def build(self, classes: int) -> ResNet:
        """Make the network: see ``ModelConfig.build``."""
        return ResNet(BasicBlock, (1, 1, 1), self.width, classes)


@dataclass(frozen=True)
class ResNet18:
    """ResNet-18 with a 3x3 stride-1 stem and no max-pool, as the budgeted-training paper trains it."""

    width: int = 64
    """Channels of the first stage; the others have 2, 4 and 8 times as many."""

    def __post_init__(self) -> None:
        _check_width(self.width)

    def build(self, classes: int) -> ResNet:
        """Make the network: see ``ModelConfig.build``."""
        return ResNet(BasicBlock, (2, 2, 2, 2), self.width, classes)


@dataclass(frozen=True)
class ResNet34:
    """ResNet-34 with a 3x3 stride-1 stem and no max-pool."""

    width: int = 64
    """Channels of the first stage; the others have 2, 4 and 8 times as many."""

    def __post_init__(self) -> None:
        _check_width(self.width)

    def build(self, classes: int) -> ResNet:
        """Make the network: see ``ModelConfig.build``."""
        return ResNet(BasicBlock, (3, 4, 6, 3), self.width, classes)


@dataclass(frozen=True)
class ResNet50:
    """ResNet-50 with a 3x3 stride-1 stem and no max-pool, as the sample-importance paper trains it."""

    width: int = 64
    """Inner channels of the first stage; the others have 2, 4 and 8 times as many, outputs 4 times these."""

    def __post_init__(self) -> None:
        _check_width(self.width)

    def build(self, classes: int) -> ResNet:
        """Make the network: see ``ModelConfig.build``."""
        return ResNet(Bottleneck, (3, 4, 6, 3), self.width, classes)


@dataclass(frozen=True)
class ResNet101:
    """ResNet-101 with a 3x3 stride-1 stem and no max-pool, as the sample-importance paper trains it."""

    width: int = 64
    """Inner channels of the first stage; the others have 2, 4 and 8 times as many, outputs 4 times these."""

    def __post_init__(self) -> None:
        _check_width(self.width)

    def build(self, classes: int) -> ResNet:
        """Make the network: see ``ModelConfig.build``."""
        return ResNet(Bottleneck, (3, 4, 23, 3), self.width, classes)


@dataclass(frozen=True)
class ResNet152:
    """ResNet-152 with a 3x3 stride-1 stem and no max-pool."""

    width: int = 64
    """Inner channels of the first stage; the others have 2, 4 and 8 times as many, outputs 4 times these."""

    def __post_init__(self) -> None:
        _check_width(self.width)

    def build(self, classes: int) -> ResNet:
        """Make the network: see ``ModelConfig.build``."""
        return ResNet(Bottleneck, (3, 8, 36, 3), self.width, classes)
