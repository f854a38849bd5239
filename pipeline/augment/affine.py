"""Shear, translation and rotation by nearest neighbour, in Pillow's fixed-point arithmetic."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
    column = ((b * y + c) + a * x).bitwise_right_shift_(16).clamp_(-1, width).add_(1)
    row = ((e * y + f) + d * x).bitwise_right_shift_(16).clamp_(-1, height)
    image = torch.arange(m, device=pixels.device, dtype=torch.int32)[:, None, None] * (height + 2) + 1
    places = row.add_(image).mul_(width + 2).add_(column)
    return torch.index_select(canvas.view(-1, channels), 0, places.view(-1)).view_as(pixels)


def _matrices(like: Floats, entries: dict[int, Floats]) -> Floats:
    matrices = np.zeros((len(like), 6))
    matrices[:, [0, 4]] = 1
    for place, values in entries.items():
        matrices[:, place] = values
    return matrices
