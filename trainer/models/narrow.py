"""Strided 1x1 convolutions of few channels, which oneDNN's kernels for AVX2 compute wrongly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CHANNELS = 8
"""Below these, oneDNN's AVX2 kernel of the weights' gradient writes past the memory that it reserved."""


def guard_narrow(module: nn.Module) -> None:
    """Make images contiguous for strided 1x1 convolutions of fewer than 8 channels on a CPU.

    For channels_last images oneDNN writes out of bounds in their backward pass (its issue 6035): gradients
    are wrong, or the process dies of a damaged heap. A ResNet of a width below 8 has such shortcuts. Other
    convolutions, types and devices are left as they are.
    """
    for part in module.modules():
        if (
            isinstance(part, nn.Conv2d)
            and part.kernel_size == (1, 1)
            and part.stride != (1, 1)
            and part.in_channels // part.groups < CHANNELS
        ):
            # The weights' strides decide as well, though both formats have one order of 1x1 weights.
            part.weight.data = part.weight.data.clone(memory_format=torch.contiguous_format)
            part.register_forward_pre_hook(_contiguous)


def _contiguous(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    images: Tensor = inputs[0]
    if images.device.type != "cpu" or images.dtype != torch.float32:
        return inputs
    return (images.contiguous(), *inputs[1:])
