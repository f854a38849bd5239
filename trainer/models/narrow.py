"""Strided 1x1 convolutions of few channels, which oneDNN's kernels for AVX2 compute wrongly."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = 8
"""Below these, oneDNN's AVX2 kernel of the weights' gradient writes past the memory that it reserved."""


class NarrowConv2d(nn.Conv2d):
    """A strided 1x1 convolution that maps every stride-th pixel with stride 1, in float32 on a CPU.

    The results are the same, by a kernel that has no fault.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        if input.device.type != "cpu" or input.dtype != torch.float32:
            whole: Tensor = super()._conv_forward(input, weight, bias)
            return whole
        down, right = self.stride
        return F.conv2d(input[..., ::down, ::right], weight, bias, groups=self.groups)


def guard_narrow(module: nn.Module) -> None:
    """Make strided 1x1 convolutions of fewer than 8 channels per group `NarrowConv2d`, in place.

    For channels_last images oneDNN writes out of bounds in their backward pass (its issue 6035), in eager
    and in compiled steps: gradients are wrong, or the process dies of a damaged heap. A ResNet of a width
    below 8 has such shortcuts. Other convolutions are left as they are, and so are subclasses, whose code is
    their own.
    """
    for part in module.modules():
        if (
            type(part) is nn.Conv2d
            and part.kernel_size == (1, 1)
            and part.stride != (1, 1)
            and part.padding == (0, 0)
            and part.in_channels // part.groups < CHANNELS
        ):
            part.__class__ = NarrowConv2d
