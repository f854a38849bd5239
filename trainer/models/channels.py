"""Networks for images of one channel, made of those for three."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.errors import RunError

_COLORS = 3


def with_channels(network: nn.Module, channels: int) -> nn.Module:
    """Return a network for images of 3 channels, changed in place to take 1 if asked to.

    Its first convolution then has the sum of its weights over the channels, as timm makes it of pretrained
    ones: it computes what it would of a gray image in three equal channels.

    Raises
    ------
    RunError
        When it has no convolution of 3 channels to begin with.
    """
    if channels == _COLORS:
        return network
    stem = stem_of(network)
    weight = stem.weight
    with torch.no_grad():
        summed = weight.sum(dim=1, keepdim=True)
    trained = isinstance(weight, nn.Parameter)
    stem.weight = nn.Parameter(summed, requires_grad=weight.requires_grad) if trained else summed
    stem.in_channels = channels
    return network


def stem_of(network: nn.Module) -> nn.Conv2d:
    """Return the first convolution of 3 channels.

    Raises
    ------
    RunError
        When there is none.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == _COLORS and module.groups == 1:
            return module
    raise RunError(
        f"a network for images of one channel must begin with a convolution of {_COLORS}, to be changed; "
        f"{type(network).__name__} has none: convert the images with --mode RGB, or take another --model"
    )


def gray_weights(weights: Tensor, wanted: torch.Size) -> Tensor | None:
    """Return a first convolution's weights of 3 channels for images of 1; None where they are no such."""
    if weights.ndim != 4 or weights.shape[1] != _COLORS or wanted != (len(weights), 1, *weights.shape[2:]):
        return None
    return weights.sum(dim=1, keepdim=True)
