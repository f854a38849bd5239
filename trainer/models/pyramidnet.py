"""Pyramidal residual networks for small images: channels grow by as much in every block."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from trainer.errors import RunError
from trainer.models.blocks import Checkpointed, recomputed
from trainer.models.protocol import classifier

_STEM = 16
_STAGES = 3
_MOST_ALPHA = 4096


class PyramidNet(Checkpointed, nn.Module):
    """Stem, three stages of pre-activation blocks, normalization, mean over the plane, one linear layer.

    Han, Kim and Kim (2017), additive: with N blocks in all, block k has 16 + alpha k / N channels, rounded
    (eq. 3). Blocks normalize before each convolution and after the last, with no activation before the first,
    and shortcuts are filled up with channels of zeros. Convolutions start from He et al.'s (2015) normal
    distribution in its fan-out form.

    Parameters
    ----------
    blocks
        Per stage. The first stage keeps the resolution, the others halve it.
    alpha
        Channels that are added over the whole network, before a bottleneck's expansion.
    bottleneck
        Whether blocks are 1x1, 3x3 and 1x1 convolutions with 4 times the channels at the end, or two of 3x3.
    classes
        Number of outputs; 0 for features.
    """

    def __init__(self, blocks: int, alpha: int, bottleneck: bool, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, _STEM, 3, padding=1, bias=False), nn.BatchNorm2d(_STEM))
        channels, made = _STEM, []
        for index in range(_STAGES * blocks):
            width = round(_STEM + alpha * (index + 1) / (_STAGES * blocks))
            stride = 2 if index in (blocks, 2 * blocks) else 1
            block = PyramidBlock(channels, width, stride, bottleneck)
            made.append(block)
            channels = block.channels
        self.blocks = nn.Sequential(*made)
        self.norm = nn.BatchNorm2d(channels)
        self.num_features = channels
        self.head = classifier(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last block's maps, normalized and activated, float[n, d, h, w], of images."""
        x = self.stem(x)
        x = recomputed(self.blocks, x) if self.checkpointed else self.blocks(x)
        return F.relu(self.norm(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return outputs, float[n, classes], of maps, or their means, float[n, d]."""
        means = x.mean(dim=(2, 3))
        outputs: Tensor = means if pre_logits else self.head(means)
        return outputs

    def get_classifier(self) -> nn.Module:
        """Return the linear layer."""
        return self.head

    def forward(self, images: Tensor) -> Tensor:
        """Return outputs, float[n, classes], of images [n, 3, H, W]."""
        return self.forward_head(self.forward_features(images))


class PyramidBlock(nn.Module):
    """A residual block whose shortcut has no weights: averaged where maps are halved, zeros in new channels.

    Attributes
    ----------
    channels
        Of its output.
    """

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        # Kernel, input and output channels of each convolution; of a bottleneck the second has the stride.
        shapes = [(3, channels, width), (3, width, width)]
        if bottleneck:
            shapes = [(1, channels, width), (3, width, width), (1, width, 4 * width)]
        layers: list[nn.Module] = []
        for index, (kernel, before, after) in enumerate(shapes):
            layers.append(nn.BatchNorm2d(before))
            if index > 0:
                layers.append(nn.ReLU(inplace=True))
            step = stride if index == int(bottleneck) else 1
            layers.append(nn.Conv2d(before, after, kernel, step, padding=kernel // 2, bias=False))
        self.channels = shapes[-1][2]
        self.layers = nn.Sequential(*layers, nn.BatchNorm2d(self.channels))
        self._stride = stride
        self._new = self.channels - channels

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, C, H, W] to [n, channels, H/stride, W/stride], rounded up."""
        shortcut = x if self._stride == 1 else F.avg_pool2d(x, 2, ceil_mode=True)
        # Pads the channels behind; there are never fewer than before.
        sum_: Tensor = self.layers(x) + F.pad(shortcut, (0, 0, 0, 0, 0, self._new))
        return sum_


def _check_alpha(alpha: int) -> None:
    if not 0 < alpha <= _MOST_ALPHA:
        raise RunError(
            f"model.alpha must be at least 1 and at most {_MOST_ALPHA:,} channels; got {alpha}: 48 to 270 "
            "are usual"
        )


@dataclass(frozen=True)
class PyramidNet110:
    """PyramidNet-110 of basic blocks, for 32 px, as the sample-importance paper trains it."""

    alpha: int = 48
    """Channels added over the network; Han et al. (2017) report 48, 84 and 270."""

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    def build(self, classes: int) -> PyramidNet:
        """Make the network: see ``ModelConfig.build``."""
        return PyramidNet((110 - 2) // 6, self.alpha, False, classes)


@dataclass(frozen=True)
class PyramidNet164:
    """PyramidNet-164 of bottleneck blocks, for 32 px, as the sample-importance paper trains it."""

    alpha: int = 48
    """Channels added over the network, before the expansion by 4; Han et al. (2017) report 270."""

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    def build(self, classes: int) -> PyramidNet:
        """Make the network: see ``ModelConfig.build``."""
        return PyramidNet((164 - 2) // 9, self.alpha, True, classes)
