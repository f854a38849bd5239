"""Shear, translation and rotation by nearest neighbour, in Pillow's fixed-point arithmetic."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.ops.memory import gather_runs

Floats = NDArray[np.float64]


def shear_x(amounts: Floats, height: int, width: int) -> Floats:
    """Matrices, float64[m, 6], that take x from x + amount * y."""
    return _matrices(amounts, {1: amounts})


def shear_y(amounts: Floats, height: int, width: int) -> Floats:
    """Matrices that take y from y + amount * x."""
    return _matrices(amounts, {3: amounts})


def translate_x(pixels: Floats, height: int, width: int) -> Floats:
    """Matrices that take x from x + pixels: they move the image to the left."""
    return _matrices(pixels, {2: pixels})


def translate_y(pixels: Floats, height: int, width: int) -> Floats:
    """Matrices that take y from y + pixels: they move the image up."""
    return _matrices(pixels, {5: pixels})


def rotate(degrees: Floats, height: int, width: int) -> Floats:
    """Matrices that turn the image counter-clockwise around its middle, as ``Image.rotate`` does."""
    angle = -np.radians(degrees)
    cosine: Floats = np.cos(angle).round(15)
    sine: Floats = np.sin(angle).round(15)
    x, y = width / 2, height / 2
    shift_x, shift_y = cosine * -x + sine * -y + x, -sine * -x + cosine * -y + y
    return _matrices(degrees, {0: cosine, 1: sine, 2: shift_x, 3: -sine, 4: cosine, 5: shift_y})


def fixed_point(matrices: Floats) -> NDArray[np.int32]:
    """Turn matrices into 16.16 fixed point, int32[m, 6], from middles of pixels to middles of pixels."""
    centred = matrices.copy()
    centred[:, 2] += (matrices[:, 0] + matrices[:, 1]) / 2
    centred[:, 5] += (matrices[:, 3] + matrices[:, 4]) / 2
    return np.floor(centred * 65536 + 0.5).astype(np.int32)


def offsets(matrices: Floats) -> NDArray[np.int32]:
    """Turn matrices that move whole rows into what `slide` needs of their fixed point, int32[m, 3]."""
    return fixed_point(matrices)[:, [1, 2, 5]]


def slide(pixels: Tensor, moved: Tensor) -> Tensor:
    """Take each row from another row, and from further left or right in it; black where that is outside.

    Translations and `shear_x` do no more, and a row is one copy of a run of memory.

    Parameters
    ----------
    pixels
        uint8[m, H, W, C], contiguous.
    moved
        int32[m, 3] (b, c, f), in 16.16 fixed point: row y is taken from row y + f, from column b y + c on.
    """
    m, height, width, channels = pixels.shape
    # Before and behind each row lies as much black, so a run that begins outside is as long as any other.
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
    """Take each pixel from where its image's matrix says, black where that is outside.

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
    # What lies outside, however far, is taken from the border of one black pixel.
    column = torch.add(b * y + c, a * x).bitwise_right_shift_(16).clamp_(-1, width)
    row = torch.add(e * y + f, d * x).bitwise_right_shift_(16).clamp_(-1, height)
    image = torch.arange(m, device=pixels.device, dtype=torch.int32)[:, None, None] * (height + 2) + 1
    places = column.add_(row, alpha=width + 2).add_(image * (width + 2) + 1)
    return torch.index_select(canvas.view(-1, channels), 0, places.view(-1)).view_as(pixels)


def _matrices(like: Floats, entries: dict[int, Floats]) -> Floats:
    matrices = np.zeros((len(like), 6))
    matrices[:, [0, 4]] = 1
    for place, values in entries.items():
        matrices[:, place] = values
    return matrices
