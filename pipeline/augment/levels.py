"""Operations on grey levels, batched, and bit for bit those of Pillow where it has them.

All take and give uint8[m, H, W, C], contiguous, with 3 channels or 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.augment.rows import to_images, to_pixels


def look_up(pixels: Tensor, tables: Tensor) -> Tensor:
    """Replace every level by its entry in the image's table.

    Parameters
    ----------
    tables
        uint8[m, 256]
    """
    return _look_up(pixels.flatten(1), tables).view_as(pixels)


def autocontrast(pixels: Tensor) -> Tensor:
    """Stretch each channel's levels to 0 to 255; a channel of one level stays (``ImageOps.autocontrast``)."""
    planes = _planes(pixels)
    low, high = planes.amin(1, keepdim=True), planes.amax(1, keepdim=True)
    level = torch.arange(256, device=pixels.device, dtype=torch.float64)
    # Pillow's own operations in double precision: others may fall below a whole number, as PyTorch's
    # number / tensor does, which takes the reciprocal.
    first = low.to(torch.float64)
    span = (high.to(torch.float64) - first).clamp_(min=1)
    scale = torch.full_like(span, 255).div_(span)
    tables = (level * scale + -first * scale).clamp_(0, 255).to(torch.uint8)
    tables = torch.where(high > low, tables, level.to(torch.uint8))
    return _from_planes(_look_up(planes, tables), pixels)


def equalize(pixels: Tensor) -> Tensor:
    """Even out each channel's histogram by Pillow's rule (``ImageOps.equalize``).

    With step = (pixels - those of the highest level) // 255, level i becomes (step // 2 + pixels below i) //
    step; where step is 0 the channel stays.
    """
    planes = _planes(pixels)
    count, area = planes.shape
    places = planes.to(torch.int64)
    histogram = torch.zeros((count, 256), dtype=torch.int64, device=pixels.device)
    histogram.scatter_add_(
        1, places, torch.ones((1, 1), dtype=torch.int64, device=pixels.device).expand_as(places)
    )
    highest = planes.amax(1, keepdim=True).to(torch.int64)
    step = torch.div(area - histogram.gather(1, highest), 255, rounding_mode="floor")
    below = histogram.cumsum(1) - histogram + torch.div(step, 2, rounding_mode="floor")
    tables = torch.div(below, step.clamp(min=1), rounding_mode="floor").clamp_(max=255)
    level = torch.arange(256, device=pixels.device)
    tables = torch.where(step > 0, tables, level).to(torch.uint8)
    return _from_planes(_look_up(planes, tables), pixels)


def contrast(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with the mean grey level: factor 0 is that level, 1 the image (``ImageEnhance.Contrast``).

    Parameters
    ----------
    factors
        float32[m]
    """
    grey = _grey(pixels).flatten(1)
    area = grey.shape[1]
    mean = torch.div(2 * grey.sum(1, dtype=torch.int64) + area, 2 * area, rounding_mode="floor")
    return _blend(mean.to(torch.float32)[:, None], pixels.flatten(1), factors).view_as(pixels)


def colour(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with the grey image: factor 0 is grey, 1 the image (``ImageEnhance.Color``)."""
    grey = _grey(pixels).to(torch.float32)[..., None].expand_as(pixels).flatten(1)
    return _blend(grey, pixels.flatten(1), factors).view_as(pixels)


def hue(pixels: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue in the HSV hexcone, its saturation and value kept; grey levels stay.

    With v the highest and c the highest less the lowest channel, each channel is v - c min(1, max(0, min(k,
    4 - k))), k = n + hue modulo 6, and n = 5, 3, 1 for red, green, blue. Pillow has no such operation, and
    torchvision's rounds down; this rounds to the nearest level.

    Parameters
    ----------
    turns
        float32[m], parts of a full turn.
    """
    if pixels.shape[3] == 1:
        return pixels
    red, green, blue = pixels.to(torch.float32).unbind(3)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    span = chroma.clamp(min=1)
    sextant = torch.where(
        value == red,
        (green - blue) / span,
        torch.where(value == green, (blue - red) / span + 2, (red - green) / span + 4),
    ).add_(6 * turns[:, None, None])
    turned = []
    for n in (5, 3, 1):
        k = (sextant + n).remainder_(6)
        turned.append(value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(turned, dim=3).add_(0.5).to(torch.uint8)


def sharpness(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with the smoothed image: factor 0 is smooth, 1 the image (``ImageEnhance.Sharpness``)."""
    return _blend(_smooth(pixels).flatten(1), pixels.flatten(1), factors).view_as(pixels)


def _blend(degenerate: Tensor, levels: Tensor, factors: Tensor) -> Tensor:
    """Go from ``degenerate`` (float32) towards ``levels``, cut off to 0 to 255, rounded down."""
    away = levels.to(torch.float32).sub_(degenerate).mul_(factors[:, None])
    return away.add_(degenerate).clamp_(0, 255).to(torch.uint8)


def _grey(pixels: Tensor) -> Tensor:
    """int32[m, H, W], the luminance of ITU-R 601 in Pillow's fixed point."""
    if pixels.shape[3] == 1:
        return pixels[..., 0].to(torch.int32)
    red, green, blue = pixels.to(torch.int32).unbind(3)
    return (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16


def _smooth(pixels: Tensor) -> Tensor:
    """Average over 3 x 3 pixels with weight 5 in the middle of 13, rounded; the border stays; float32."""
    smooth = pixels.to(torch.float32)
    if min(pixels.shape[1:3]) < 3:
        return smooth
    wide = pixels.to(torch.int16)
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * wide[:, 1:-1, 1:-1]
    # Sums are whole, so a thirteenth and a half is never whole, and float32 can't fall on the wrong side.
    smooth[:, 1:-1, 1:-1] = total.to(torch.float32).add_(6.5).div_(13).floor_()
    return smooth


def _planes(pixels: Tensor) -> Tensor:
    """uint8[m * C, H * W], one channel of one image a row."""
    return to_images(pixels).contiguous().flatten(2).flatten(0, 1)


def _from_planes(planes: Tensor, pixels: Tensor) -> Tensor:
    m, height, width, channels = pixels.shape
    return to_pixels(planes.view(m, channels, height, width))


def _look_up(levels: Tensor, tables: Tensor) -> Tensor:
    """Replace ``levels``, uint8[k, l], by the entries of row k of ``tables``, uint8[k, 256]."""
    base = torch.arange(levels.shape[0], device=levels.device, dtype=torch.int32) * 256
    places = levels.to(torch.int32).add_(base[:, None])
    return torch.index_select(tables.view(-1), 0, places.view(-1)).view_as(levels)
