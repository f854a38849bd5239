"""Symmetric separable filters, one of its own for every image.

All kernels of a batch are equally long, so a filter is a few passes over whole rows for each weight. Each
pass rounds on its own, so what comes out depends neither on threads nor on the batch around an image.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Halves are rounded up as in Pillow. What is exactly a half may come out a little below it after the sums;
# this is more than that, and less than most other fractions are away.
_HALF = 0.5 + 2.0**-13


def smooth(pixels: Tensor, kernels: Tensor) -> Tensor:
    """Filter columns and rows of each image, mirrored at its border pixels, and round to levels.

    Parameters
    ----------
    pixels
        uint8[m, H, W, C], contiguous.
    kernels
        float32[m, k], the kernel's middle and what follows it to one side; k at most H and at most W.

    Returns
    -------
    uint8[m, H, W, C], contiguous.
    """
    levels = pixels.to(torch.float32)
    for dim in (1, 2):
        levels = _filter(levels, kernels, dim)
    return levels.add_(_HALF).to(torch.int16).to(torch.uint8)


def _filter(levels: Tensor, kernels: Tensor, dim: int) -> Tensor:
    """Filter float32[m, H, W, C] along ``dim``; ``levels`` may be overwritten."""
    size, reach = levels.shape[dim], kernels.shape[1] - 1
    if reach == 0:
        return levels.mul_(kernels[:, 0, None, None, None])
    before = levels.narrow(dim, 1, reach).flip(dim)
    behind = levels.narrow(dim, size - 1 - reach, reach).flip(dim)
    mirrored = torch.cat([before, levels, behind], dim)
    total = levels.mul_(kernels[:, 0, None, None, None])
    for away in range(1, reach + 1):
        pair = mirrored.narrow(dim, reach - away, size) + mirrored.narrow(dim, reach + away, size)
        total.add_(pair.mul_(kernels[:, away, None, None, None]))
    return total
