"""Shear, translation and rotation by nearest neighbor, in Pillow's fixed-point arithmetic."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.ops.memory import gather_runs

Floats = NDArray[np.float64]


def shear_x(amounts: Floats, height: int, width: int) -> Floats:
    """Return matrices, float64[m, 6], that map output x to input x + amount * y."""
    return _matrices(amounts, {1: amounts})


def shear_y(amounts: Floats, height: int, width: int) -> Floats:
    """Return matrices that map output y to input y + amount * x."""
    return _matrices(amounts, {3: amounts})


def translate_x(pixels: Floats, height: int, width: int) -> Floats:
    """Return matrices that map output x to input x + pixels: the image moves to the left."""
    return _matrices(pixels, {2: pixels})


def translate_y(pixels: Floats, height: int, width: int) -> Floats:
    """Return matrices that map output y to input y + pixels: the image moves up."""
    return _matrices(pixels, {5: pixels})


def rotate(degrees: Floats, height: int, width: int) -> Floats:
    """Return matrices that rotate the image counter-clockwise around its center, as ``Image.rotate``."""
    angle = -np.radians(degrees)
    cosine: Floats = np.cos(angle).round(15)
    sine: Floats = np.sin(angle).round(15)
    x, y = width / 2, height / 2
    shift_x, shift_y = cosine * -x + sine * -y + x, -sine * -x + cosine * -y + y
    return _matrices(degrees, {0: cosine, 1: sine, 2: shift_x, 3: -sine, 4: cosine, 5: shift_y})


def fixed_point(matrices: Floats) -> NDArray[np.int32]:
    """Convert matrices to 16.16 fixed point, int32[m, 6], between pixel centers."""
    centered = matrices.copy()
    centered[:, 2] += (matrices[:, 0] + matrices[:, 1]) / 2
    centered[:, 5] += (matrices[:, 3] + matrices[:, 4]) / 2
    return np.floor(centered * 65536 + 0.5).astype(np.int32)


def offsets(matrices: Floats) -> NDArray[np.int32]:
    """Convert matrices that move whole rows to the fixed-point parameters of `slide`, int32[m, 3]."""
    return fixed_point(matrices)[:, [1, 2, 5]]


def slide(pixels: Tensor, moved: Tensor) -> Tensor:
    """Copy each row from another row, shifted horizontally; black outside the image.

    Sufficient for translations and `shear_x`; each row is one copy of contiguous memory.

    Parameters
    ----------
    pixels
        uint8[m, H, W, C], contiguous.
    moved
        int32[m, 3] (b, c, f), in 16.16 fixed point: row y is taken from row y + f, from column b y + c on.
    """
    m, height, width, channels = pixels.shape
    # Each row is padded with black on both sides, so that runs that begin outside have the same length.
    canvas = pixels.new_zeros((m * height + 1, 2, width, channels))
    canvas[:-1, 1] = pixels.flatten(0, 1)
    slope, across, down = moved[:, :, None].unbind(1)
    y = torch.arange(height, device=pixels.device, dtype=torch.int32)
    left = (slope * y + across).bitwise_right_shift_(16).clamp_(-width, width)
    row = y + down.bitwise_right_shift(16)
    within = row.clamp(0, height - 1)
    left = torch.where(row == within, left, width)
    first = torch.arange(m, device=pixels.device)[:, None] * height
    starts = (first + within).mul_(2).add_(1).mul_(width).add_(left)
    return gather_runs(canvas.view(-1, channels), starts.view(-1), width).view_as(pixels)


def warp(pixels: Tensor, matrices: Tensor) -> Tensor:
    """Copy each pixel from the position given by its image's matrix; black outside the image.

    Parameters
    ----------
    pixels
        uint8[m, H, W, C], contiguous.
    matrices
        int32[m, 6], in 16.16 fixed point: pixel (x, y) is taken from (a x + b y + c, d x + e y + f).
    """
    m, height, width, channels = pixels.shape
    canvas = pixels.new_zeros((m, height + 2, width + 2, channels))
    canvas[:, 1:-1, 1:-1] = pixels
    x = torch.arange(width, device=pixels.device, dtype=torch.int32)
    y = torch.arange(height, device=pixels.device, dtype=torch.int32)[:, None]
    a, b, c, d, e, f = matrices[:, :, None, None].unbind(1)
    # All positions outside are clamped to a border of one black pixel.
    column = torch.add(b * y + c, a * x).bitwise_right_shift_(16).clamp_(-1, width)
    row = torch.add(e * y + f, d * x).bitwise_right_shift_(16).clamp_(-1, height)
    image = torch.arange(m, device=pixels.device, dtype=torch.int32)[:, None, None] * (height + 2) + 1
    indices = column.add_(row, alpha=width + 2).add_(image * (width + 2) + 1)
    return torch.index_select(canvas.view(-1, channels), 0, indices.view(-1)).view_as(pixels)


def _matrices(like: Floats, entries: dict[int, Floats]) -> Floats:
    matrices = np.zeros((len(like), 6))
    matrices[:, [0, 4]] = 1
    for place, values in entries.items():
        matrices[:, place] = values
    return matrices
