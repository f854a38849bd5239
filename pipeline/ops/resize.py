"""Resizes a different window of each image to one size, bilinearly and antialiased as in Pillow.

An output row is the weighted sum of a few adjacent rows, of the same number for every window, since no window
is larger than the image. Whole rows are gathered as blocks of memory, and columns as rows of the transposed
image. Levels are rounded once, at the end; Pillow also rounds between the two directions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.ops.memory import images_at_once

# Halves are rounded up as in Pillow; the excess over 1/2 is larger than the rounding errors of an exact half.
_HALF = 0.5 + 2.0**-13


def resize(pixels: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]) -> Tensor:
    """Resize a window of each image.

    Parameters
    ----------
    pixels
        uint8[n, H, W, C], or uint16, contiguous.
    rows, columns
        Results of `taps` for H and S, and for W and T.

    Returns
    -------
    [n, S, T, C] of the same type, contiguous.
    """
    n, piece = len(pixels), images_at_once(pixels)
    done = []
    for at in range(0, max(n, 1), piece):
        part = slice(at, at + piece)
        high = _weigh(pixels[part], rows[0][part], rows[1][part])
        wide = _weigh(high.transpose(1, 2).contiguous(), columns[0][part], columns[1][part])
        # A cast from float32 to uint8 isn't vectorized on a CPU, but by way of int16 it is.
        if pixels.dtype == torch.uint8:
            levels = wide.add_(_HALF).to(torch.int16).to(torch.uint8).transpose(1, 2)
        else:
            # Levels of 16 bits have too few digits left in float32 for more than the half.
            levels = wide.add_(0.5).to(torch.int32).to(pixels.dtype).transpose(1, 2)
        done.append(levels.clone(memory_format=torch.contiguous_format))
    return torch.cat(done)


def taps(
    first: Tensor, length: Tensor, size: int, count: int, mirrored: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return indices and weights that resize ``length`` of ``size`` pixels to ``count``.

    Pillow's triangle filter: two pixels of the coarser grid wide, truncated at the window's borders.

    Parameters
    ----------
    first, length
        int64[n], the windows.
    size, count
        Number of input and output pixels.
    mirrored
        bool[n], whether to reverse the output pixels.

    Returns
    -------
    indices
        int64[n, count, t], t = 2 unless pixels are merged.
    weights
        float32[n, count, t]; they sum to 1 for each new pixel.
    """
    scale = (length.to(torch.float32) / count)[:, None]
    reach = scale.clamp(min=1)
    middle = torch.arange(count, device=first.device)[None] + 0.5
    if mirrored is not None:
        middle = torch.where(mirrored[:, None], count - middle, middle)
    # Relative to the window's start.
    center = middle * scale
    step = torch.arange(math.ceil(2 * max(size / count, 1)), device=first.device)
    indices = (center - reach - 0.5).floor_()[:, :, None] + 1 + step
    within = (indices >= 0) & (indices < length[:, None, None])
    away = (indices + 0.5 - center[:, :, None]).abs_().div_(reach[:, :, None])
    weights = away.neg_().add_(1).clamp_(min=0).mul_(within)
    weights.div_(weights.sum(2, keepdim=True))
    return (indices.to(torch.int64) + first[:, None, None]).clamp_(0, size - 1), weights


def _weigh(pixels: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Return weighted sums of rows of [n, H, W, C], float32[n, S, W, C]."""
    n, height, width, channels = pixels.shape
    memory = pixels.view(n * height, width * channels)
    starts = indices + (torch.arange(n, device=pixels.device) * height)[:, None, None]
    total = torch.zeros((), device=pixels.device)
    for tap in range(indices.shape[2]):
        taken = torch.index_select(memory, 0, starts[:, :, tap].reshape(-1)).to(torch.float32)
        weight = weights[:, :, tap].reshape(-1, 1)
        total = taken.mul_(weight) if tap == 0 else total.addcmul_(taken, weight)
    return total.view(n, indices.shape[1], width, channels)
