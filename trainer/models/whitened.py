"""Convolutional network behind a fixed whitening layer, as the records for short CIFAR trainings train it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.errors import RunError
from trainer.models.protocol import check_classes

_KERNEL = 2
"""Side of the whitening filters in pixels."""

_MOST_WIDTH = 4096
_NORM_EPS = 1e-12


class WhitenedNetwork(nn.Module):
    """Whitening filters, three groups of convolutions, each at half the size, maximum, scaled linear layer.

    Weights start as in `WhitenedCNN`; those of the whitening filters are random until `begin_from`.

    Parameters
    ----------
    widths
        Channels of the three groups.
    depth
        Convolutions per group, 2 or 3; of 3 the last two have a shortcut.
    classes
        Number of outputs; 0 for features.
    scale
        Factor of the outputs.
    momentum
        Weight of a batch in the running statistics of batch normalization.
    eps
        Added to the variances of patches.
    images
        Number of training images that whitening is computed from.
    unit_head
        Whether the head's weights start with a deviation of 1.

    Attributes
    ----------
    beginning_images
        See `trainer.models.protocol.DataInitialized`.
    """

    def __init__(
        self,
        widths: tuple[int, int, int],
        depth: int,
        classes: int,
        *,
        scale: float,
        momentum: float,
        eps: float,
        images: int,
        unit_head: bool,
    ) -> None:
        super().__init__()
        check_classes(classes)
        self.beginning_images = images
        self._eps = eps
        filters = 2 * 3 * _KERNEL**2
        self.whiten = nn.Conv2d(3, filters, _KERNEL)
        # Not a parameter: it is computed from the data, and never trained.
        _as_buffer(self.whiten, "weight")
        channels = (filters, *widths)
        groups = (_Group(a, b, depth, momentum) for a, b in itertools.pairwise(channels))
        self.groups = nn.Sequential(*groups)
        self.num_features = widths[-1]
        self.head = ScaledLinear(self.num_features, classes, scale, unit_head) if classes else nn.Identity()

    @torch.no_grad()
    def begin_from(self, batches: Iterable[Tensor]) -> None:
        """Compute the whitening filters: see `trainer.models.protocol.DataInitialized`.

        Filters are the eigenvectors of the second moments of 2x2 patches, each over the root of its
        eigenvalue, and their negatives: maps of unit variance, uncorrelated. Moments and vectors are computed
        in float64, and the largest number of each vector is positive, since its sign is arbitrary. Where gray
        images have fewer vectors than there are filters, each occurs several times.
        """
        moments, count = torch.zeros((), dtype=torch.float64), 0
        for images in batches:
            patches = F.unfold(images.double(), _KERNEL).transpose(1, 2).flatten(0, 1)
            moments = moments.to(patches.device) + patches.T @ patches
            count += len(patches)
        values, vectors = torch.linalg.eigh(moments / count)
        # Largest first.
        values, vectors = values.flip(0), vectors.T.flip(0)
        largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
        filters = vectors * largest.sign() / (values + self._eps).sqrt()[:, None]
        both = torch.cat((filters, -filters))
        weight = self.whiten.weight
        rows = torch.arange(len(weight)) % len(both)
        weight.copy_(both[rows.to(both.device)].view(weight.shape))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last group's maps, float[n, d, h, w], of images [n, 3, H, W]; H and W at least 9."""
        maps: Tensor = self.groups(F.gelu(self.whiten(x)))
        return maps

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits, float[n, classes], of maps, or their maxima, float[n, d]."""
        maxima = F.adaptive_max_pool2d(x, 1).flatten(1)
        logits: Tensor = maxima if pre_logits else self.head(maxima)
        return logits

    def get_classifier(self) -> nn.Module:
        """Return the linear layer, with its factor."""
        return self.head

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, float[n, classes], of images [n, 3, H, W]."""
        return self.forward_head(self.forward_features(images))


class _Group(nn.Module):
    """Convolution, maximum of 2x2, and one or two more convolutions, each normalized."""

    def __init__(self, channels: int, width: int, depth: int, momentum: float) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv(channels, width), _norm(width, momentum)
        self.conv2, self.norm2 = _conv(width, width), _norm(width, momentum)
        self.conv3 = _conv(width, width) if depth == 3 else None
        self.norm3 = _norm(width, momentum) if depth == 3 else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, channels, H, W] to [n, width, H // 2, W // 2]."""
        first = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        x = F.gelu(self.norm2(self.conv2(first)))
        if self.conv3 is not None and self.norm3 is not None:
            x = F.gelu(self.norm3(self.conv3(x)) + first)
        return x


class ScaledLinear(nn.Linear):
    """A linear layer without bias whose outputs are scaled.

    Parameters
    ----------
    scale
        Factor of the outputs.
    unit
        Whether weights start with a deviation of 1, not as torch's own.
    """

    def __init__(self, features: int, classes: int, scale: float, unit: bool) -> None:
        super().__init__(features, classes, bias=False)
        self.scale = scale
        if unit:
            with torch.no_grad():
                self.weight.div_(self.weight.std())

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return scaled outputs [n, classes] of features [n, d]."""
        return super().forward(input) * self.scale


def _conv(channels: int, width: int) -> nn.Conv2d:
    """Return a 3x3 convolution whose first filters pass the channels on, as far as there are filters."""
    conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(conv.weight[:channels])
    return conv


def _norm(width: int, momentum: float) -> nn.BatchNorm2d:
    """Return batch normalization that learns a shift and no scale."""
    norm = nn.BatchNorm2d(width, eps=_NORM_EPS, momentum=momentum)
    _as_buffer(norm, "weight")
    return norm


def _as_buffer(module: nn.Module, name: str) -> None:
    """Make a parameter a buffer: saved and moved with its module, and not trained."""
    value = getattr(module, name).detach()
    delattr(module, name)
    module.register_buffer(name, value)


@dataclass(frozen=True)
class WhitenedCNN:
    """Small convolutional network behind a fixed whitening layer, made for trainings of seconds on CIFAR.

    Jordan (2024): that of airbench94 by default, with depth 3, widths 128 384 512, scale 1/9, norm momentum
    0.1 and no unit head that of airbench96. A layer of fixed 2x2 filters whitens patches of the images, as
    computed from some of the training set before the first step; convolutions start as the identity
    as far as they have channels (dirac); batch normalization has no scale; the head starts with weights of
    deviation 1 and its outputs are scaled down. It takes images of 9 pixels and more.
    """

    widths: tuple[int, int, int] = (64, 256, 256)
    """Channels of the three groups of convolutions."""

    depth: Literal[2, 3] = 2
    """Convolutions per group; 3 have a shortcut around the last two."""

    scale: float | None = None
    """Factor of the outputs; None takes 1 / the last width."""

    unit_head: bool = True
    """Start the head's weights with a deviation of 1; without, as torch starts linear layers."""

    norm_momentum: float = 0.4
    """Weight of each batch in the running statistics of batch normalization: high, as trainings are short."""

    whitening_images: int = 5000
    """Training images, evenly over the set, of which the whitening filters are computed."""

    whitening_eps: float = 5e-4
    """Added to the variances of patches, so that filters of faint ones don't amplify noise."""

    def __post_init__(self) -> None:
        if not all(1 <= width <= _MOST_WIDTH for width in self.widths):
            raise RunError(
                f"model.widths must each be at least 1 and at most {_MOST_WIDTH} channels; got {self.widths}"
            )
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise RunError(f"model.scale must be above 0 and finite; got {self.scale:g}")
        if not 0 < self.norm_momentum <= 1:
            raise RunError(f"model.norm_momentum must be above 0 and at most 1; got {self.norm_momentum:g}")
        if self.whitening_images < 1:
            raise RunError(f"model.whitening_images must be at least 1; got {self.whitening_images}")
        if not 0 < self.whitening_eps < math.inf:
            raise RunError(f"model.whitening_eps must be above 0 and finite; got {self.whitening_eps:g}")

    def build(self, classes: int) -> WhitenedNetwork:
        """Make the network: see ``ModelConfig.build``."""
        return WhitenedNetwork(
            self.widths,
            self.depth,
            classes,
            scale=1 / self.widths[-1] if self.scale is None else self.scale,
            momentum=self.norm_momentum,
            eps=self.whitening_eps,
            images=self.whitening_images,
            unit_head=self.unit_head,
        )
