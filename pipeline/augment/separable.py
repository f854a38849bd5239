"""Separable filters as two products with matrices of each sample's own: one for rows, one for columns.

Whatever was drawn, the matrices have the same shape, so a batch of different kernels is two batched products.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.augment.rows import to_images

# Halves are rounded up as in Pillow. What is exactly a half may come out a little below it, depending on how
# a product is split between threads; this is more than that, and less than most other fractions are away.
_HALF = 0.5 + 2.0**-13


def resample(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Weigh the rows of each image, then its columns, and round to levels.

    Parameters
    ----------
    pixels
        uint8[n, H, W, C], contiguous.
    rows
        float32[n, S, H], weights that sum to 1 for every new row.
    columns
        float32[n, T, W], likewise for new columns.

    Returns
    -------
    uint8[n, S, T, C], contiguous.
    """
    n, height, width, channels = pixels.shape
    high, wide = rows.shape[1], columns.shape[1]
    weighed = torch.bmm(rows, pixels.view(n, height, width * channels).to(torch.float32))
    planes = to_images(weighed.view(n, high, width, channels)).reshape(n, channels * high, width)
    levels = torch.bmm(planes, columns.transpose(1, 2)).add_(_HALF).to(torch.uint8)
    planes = levels.view(n, channels, high, wide)
    return planes.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)


def convolution(kernels: Tensor, size: int) -> Tensor:
    """Weights of a symmetric convolution, the image mirrored at its border pixels.

    Parameters
    ----------
    kernels
        float32[n, k]: the middle and what follows it to one side, k at most ``size``.
    size
        Pixels.

    Returns
    -------
    float32[n, size, size]
    """
    place = torch.arange(size, device=kernels.device)
    here, other = place[:, None], place[None]
    last = 2 * (size - 1)
    distance = torch.arange(kernels.shape[1], device=kernels.device)[:, None, None]
    straight = distance == (here - other).abs()
    # Pixel j of the mirror images lies at -j and at 2 (size - 1) - j; the border pixels are not repeated.
    before = (distance == here + other) & (other > 0)
    after = (distance == last - here - other) & (other < size - 1)
    taps = straight.to(torch.float32).add_(before).add_(after)
    return torch.mm(kernels, taps.flatten(1)).view(kernels.shape[0], size, size)
