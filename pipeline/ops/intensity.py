"""Batched intensity operations on uint8 images, bit-equal to Pillow's where it has them.

All take and return uint8[m, H, W, C], contiguous, with 3 channels or 1. On a CPU they are limited by memory
bandwidth. So levels stay bytes where possible, passes are over contiguous rows, and there are no comparisons
and no casts from float32 to uint8, which PyTorch doesn't vectorize.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# ITU-R 601 in Pillow's fixed point: 16 fractional bits.
_RED, _GREEN, _BLUE = 19595 / 65536, 38470 / 65536, 7471 / 65536


def bits(pixels: Tensor, masks: Tensor) -> Tensor:
    """Add to levels, invert those above a threshold, and clear and flip bits: posterize, solarize, invert.

    Parameters
    ----------
    masks
        uint8[m, 5]: 255 minus the amount added to every level, the threshold, the amount added, bits to keep,
        and bits to flip.
    """
    most, threshold, raised, kept, flipped = masks[:, :, None].unbind(1)
    levels = torch.minimum(pixels.flatten(1), most).add_(raised)
    # 1 above the threshold and 0 elsewhere; its negative is 255 or 0.
    above = torch.maximum(levels, threshold).sub_(threshold).clamp_(max=1).neg_()
    return levels.bitwise_xor_(above).bitwise_and_(kept).bitwise_xor_(flipped).view_as(pixels)


def brightness(pixels: Tensor, factors: Tensor) -> Tensor:
    """Multiply levels: factor 0 is black, 1 the image (``ImageEnhance.Brightness``).

    Parameters
    ----------
    factors
        float32[m]
    """
    return _to_bytes(pixels.flatten(1).to(torch.float32).mul_(factors[:, None])).view_as(pixels)


def contrast(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with the mean gray level: factor 0 is that level, 1 the image (``ImageEnhance.Contrast``)."""
    m, height, width, channels = pixels.shape
    levels = pixels.flatten(1).to(torch.float32)
    gray = _gray(levels, channels)[:, :, 0].view(m, height, width)
    # A row's sum is an integer that float32 represents exactly; the image's may not be.
    total = gray.sum(2).to(torch.int64).sum(1, keepdim=True)
    area = height * width
    mean = torch.div(2 * total + area, 2 * area, rounding_mode="floor")
    return _blend(levels, mean.to(torch.float32), factors).view_as(pixels)


def color(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with the gray image: factor 0 is gray, 1 the image (``ImageEnhance.Color``)."""
    if pixels.shape[3] == 1:
        return pixels
    levels = pixels.flatten(1).to(torch.float32)
    gray = _gray(levels, 3)
    gray[:, :, 1].copy_(gray[:, :, 0])
    gray[:, :, 2].copy_(gray[:, :, 0])
    return _blend(levels, gray.flatten(1), factors).view_as(pixels)


def sharpness(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with the smoothed image: factor 0 is smooth, 1 the image (``ImageEnhance.Sharpness``).

    The smoothed image is the rounded average over 3 x 3 pixels with weight 5 / 13 at the center; border
    pixels are not changed.
    """
    if min(pixels.shape[1:3]) < 3:
        return pixels
    wide = pixels.to(torch.int16)
    rows = (wide[:, :-2] + wide[:, 1:-1]).add_(wide[:, 2:])
    total = (rows[:, :, :-2] + rows[:, :, 1:-1]).add_(rows[:, :, 2:]).add_(wide[:, 1:-1, 1:-1], alpha=4)
    # Sums are integers, so sum / 13 + 1 / 2 is never one, and float32 can't round to the wrong side.
    smooth = total.mul_(2).add_(13).to(torch.float32).mul_(1 / 26).floor_()
    levels = pixels.to(torch.float32)
    inner = levels[:, 1:-1, 1:-1]
    inner.sub_(smooth).mul_(factors[:, None, None, None]).add_(smooth)
    return _to_bytes(levels)


def autocontrast(pixels: Tensor) -> Tensor:
    """Stretch each channel's levels to 0..255; constant channels don't change (``ImageOps.autocontrast``)."""
    low, high = (_extreme(pixels, which).to(torch.float64) for which in (torch.amin, torch.amax))
    flat = (high == low).to(torch.float64)
    # Pillow's own operations in double precision: others may fall below an integer, such as PyTorch's
    # number / tensor, which uses the reciprocal. A constant channel gets scale 1 and offset 0.
    span = (high - low).add_(flat)
    scale = torch.full_like(span, 255).sub_(flat, alpha=254).div_(span)
    level = torch.arange(256, device=pixels.device, dtype=torch.float64)
    tables = _to_bytes((level * scale).add_((-low * scale).mul_(1 - flat)))
    return _look_up(_entries(pixels), tables).view_as(pixels)


def equalize(pixels: Tensor) -> Tensor:
    """Equalize each channel's histogram by Pillow's rule (``ImageOps.equalize``).

    With step = (pixels - pixels of the highest level) // 255, level i becomes (step // 2 + pixels below i) //
    step; if step is 0 the channel doesn't change.
    """
    m, height, width, channels = pixels.shape
    entries, area = _entries(pixels), height * width
    one = torch.ones(1, dtype=torch.int32, device=pixels.device)
    histogram = torch.zeros(m * channels * 256, dtype=torch.int32, device=pixels.device)
    histogram.index_add_(0, entries, one.expand(len(entries)))
    histogram = histogram.view(m, channels, 256)
    highest = _extreme(pixels, torch.amax).to(torch.int64)
    step = torch.div(area - histogram.gather(2, highest), 255, rounding_mode="floor").to(torch.float64)
    flat = (step == 0).to(torch.float64)
    # In double precision, where a quotient of two such integers never rounds up to an integer.
    counts = histogram.to(torch.float64)
    below = counts.cumsum(2).sub_(counts).add_((step / 2).floor_())
    level = torch.arange(256, device=pixels.device, dtype=torch.float64)
    tables = _to_bytes(below.mul_(1 - flat).add_(level * flat).div_(step.add_(flat)))
    return _look_up(entries, tables).view_as(pixels)


def hue(pixels: Tensor, turns: Tensor) -> Tensor:
    """Shift the hue in the HSV hexcone at constant saturation and value; gray pixels don't change.

    With l the lowest channel, c the highest minus the lowest, and h the hue in [0, 6), red is
    l + c (|h - 3| - 1), green l + c (2 - |h - 2|) and blue l + c (2 - |h - 4|), with the brackets clipped to
    [0, 1]. Pillow has no such operation, and torchvision's rounds down; this rounds to the nearest level.

    Parameters
    ----------
    turns
        float32[m], fractions of a full turn.
    """
    if pixels.shape[3] == 1:
        return pixels
    red, green, blue = (channel.flatten(1).to(torch.float32) for channel in pixels.unbind(3))
    highest = torch.maximum(torch.maximum(red, green), blue)
    lowest = torch.minimum(torch.minimum(red, green), blue)
    chroma = highest - lowest
    # Levels are integers, so these are 1 for the first channel that is highest and 0 for the others.
    in_red = (red - highest).add_(1).clamp_(min=0)
    in_green = (green - highest).add_(1).clamp_(min=0).mul_(1 - in_red)
    in_blue = (1 - in_red).sub_(in_green)
    angle = in_red * (green - blue)
    angle.add_(in_green * (blue - red)).add_(in_blue * (red - green)).div_(chroma.clamp(min=1))
    angle.add_(in_green, alpha=2).add_(in_blue, alpha=4).add_(6 * turns[:, None])
    angle.sub_((angle / 6).floor_(), alpha=6)
    fractions = (
        (angle - 3).abs_().sub_(1),
        (angle - 2).abs_().neg_().add_(2),
        (angle - 4).abs_().neg_().add_(2),
    )
    turned = [_to_bytes(one.clamp_(0, 1).mul_(chroma).add_(lowest).add_(0.5)) for one in fractions]
    return torch.stack(turned, dim=2).view_as(pixels)


def _gray(levels: Tensor, channels: int) -> Tensor:
    """Return luminance, float32[m, H * W, C] with integers in channel 0, of float32[m, H * W * C]."""
    if channels == 1:
        return levels[:, :, None]
    # Exact in any order of the sum: terms and sums are multiples of 2**-16 below 2**8. Whole rows are added,
    # shifted by one and two values; the sums that begin in another channel are not used.
    gray = levels * _RED
    gray[:, :-1].add_(levels[:, 1:], alpha=_GREEN)
    gray[:, :-2].add_(levels[:, 2:], alpha=_BLUE)
    return gray.add_(0.5).floor_().view(len(levels), -1, channels)


def _blend(levels: Tensor, degenerate: Tensor, factors: Tensor) -> Tensor:
    """Interpolate from ``degenerate`` to ``levels``, float32[m, l], which is overwritten, and round down."""
    return _to_bytes(levels.sub_(degenerate).mul_(factors[:, None]).add_(degenerate))


def _to_bytes(levels: Tensor) -> Tensor:
    """Clip floats, which are overwritten, to [0, 255] and round down."""
    return levels.clamp_(0, 255).to(torch.int16).to(torch.uint8)


def _extreme(pixels: Tensor, which: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Return each channel's lowest or highest level (``torch.amin`` or ``torch.amax``), uint8[m, C, 1]."""
    m, channels = len(pixels), pixels.shape[3]
    levels = pixels.flatten(1, 2)
    # A few long rows are reduced much faster than many short ones. If pixels don't divide, rows overlap.
    while (count := levels.shape[1]) > 64:
        step = count // 8
        rest = count - 7 * step
        rows = levels.as_strided((m, 8, rest * channels), (count * channels, step * channels, 1))
        levels = which(rows, 1).view(m, rest, channels)
    return which(levels, 1)[:, :, None]


def _entries(pixels: Tensor) -> Tensor:
    """Return int32[m * H * W * C], indices of levels into the concatenated tables of all channels."""
    m, _, width, channels = pixels.shape
    tables = torch.arange(0, m * channels * 256, 256, device=pixels.device, dtype=torch.int32)
    first = tables.view(m, 1, channels).expand(m, width, channels).reshape(m, 1, width * channels)
    return pixels.flatten(2).to(torch.int32).add_(first).flatten()


def _look_up(entries: Tensor, tables: Tensor) -> Tensor:
    return torch.index_select(tables.flatten(), 0, entries)
