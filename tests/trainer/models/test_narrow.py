"""Gradients of narrow strided convolutions, with the kernels that oneDNN has for AVX2."""

from __future__ import annotations

import os
import subprocess
import sys

import torch
from torch import nn

from trainer.models.narrow import NarrowConv2d, guard_narrow


def network() -> nn.Module:
    layers = (nn.Conv2d(count, 8, 1, stride=2, bias=False) for count in (2, 4, 5, 7, 8))
    return nn.ModuleList(layers)


def gradients(module: nn.Module, dtype: torch.dtype) -> list[torch.Tensor]:
    """Of the weights of each convolution, for channels_last images."""
    for size in (8, 28):
        for layer in module.children():
            assert isinstance(layer, nn.Conv2d)
            draws = torch.Generator().manual_seed(layer.in_channels)
            images = torch.randn(16, layer.in_channels, size, size, generator=draws).to(dtype)
            out = layer(images.contiguous(memory_format=torch.channels_last))
            out.mul(torch.randn(out.shape, generator=draws).to(dtype)).sum().backward()
    return [parameter.grad.double() for parameter in module.parameters() if parameter.grad is not None]


def main() -> int:
    """Return how many gradients are other than in float64."""
    torch.manual_seed(0)
    module = network().to(memory_format=torch.channels_last)
    exact = network()
    exact.load_state_dict(module.state_dict())
    guard_narrow(module)
    pairs = zip(gradients(module, torch.float32), gradients(exact.double(), torch.float64), strict=True)
    return sum(not torch.allclose(one, other, rtol=1e-4, atol=1e-2) for one, other in pairs)


def test_gradients_are_right_with_avx2() -> None:
    # Without the guard the process ends by a damaged heap, or gradients are wrong (oneDNN issue 6035).
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_only_narrow_strided_ones_are_touched() -> None:
    wide = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, stride=2), nn.Conv2d(8, 4, 1, stride=2))
    narrow = nn.Sequential(nn.Conv2d(7, 4, 1, stride=2), nn.Conv2d(8, 8, 1, stride=2, groups=2))
    guard_narrow(nn.ModuleList([wide, narrow]))
    assert [type(layer) is NarrowConv2d for layer in [*wide, *narrow]] == [False, False, False, True, True]


if __name__ == "__main__":
    sys.exit(main())
