"""Symmetric separable filters, with a different kernel per image.

All kernels of a batch have the same length, so a filter is a few passes over whole rows per weight. Each pass
rounds separately, so results depend neither on threads nor on the other images of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Halves are rounded up as in Pillow. An exact half may be slightly below 1/2 after the sums; the excess over
# 1/2 is larger than that error, and smaller than the distance of most other fractions.
_HALF = 0.5 + 2.0**-13


def smooth(pixels: Tensor, kernels: Tensor) -> Tensor:
    """Filter columns and rows of each image, with reflection at its border pixels, and round to levels.

    Parameters
    ----------
    pixels
        uint8[m, H, W, C], contiguous.
    kernels
        float32[m, k], the kernel's central weight and those on one side; k at most H and at most W.

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
