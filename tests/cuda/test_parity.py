"""Every augmentation on the device is what it is on the CPU, except for rounding."""

from __future__ import annotations

import numpy as np
import torch
from every_augmentation import CPU, every_part, images_for, keys_of

from pipeline.augment import Augment, Augmentation
from pipeline.augment.color_jitter import ColorJitter
from pipeline.augment.multi import Multi
from pipeline.augment.protocol import Resizing
from pipeline.augment.ssl import Ssl
from pipeline.ops.memory import place_all

_ROUNDED = (Resizing, ColorJitter, Multi, Ssl)
"""Resizing and hue may be off by a level: CUDA multiplies by a reciprocal, fuses products and sums, and sums
in another order."""

_FLOATS = 2e-6
"""Of normalized values, for the same reasons."""

SHAPES = {
    "cpu": [(0, 12, 9), (1, 12, 9), (7, 12, 9)],
    "cuda": [(0, 32, 32), (1, 28, 17), (97, 32, 32), (40, 96, 96)],
}


@every_part
def test_a_part_on_the_device_is_that_of_the_cpu(part: Augment, device: torch.device) -> None:
    """With groups that are empty, and batches without images."""
    for n, height, width in SHAPES[device.type]:
        images = images_for(part, n, height, width)
        drawn = part.draw(keys_of(np.arange(n)), height, width)

        def applied(where: torch.device) -> torch.Tensor:
            placed = place_all([array.copy() for array in drawn.values()], where)  # noqa: B023  (called at once)
            return part.apply(images.to(where), dict(zip(drawn, placed, strict=True)))  # noqa: B023

        here, there = applied(CPU), applied(device)
        assert there.device == device
        assert there.is_contiguous(memory_format=torch.channels_last)
        allowed = _FLOATS if part.domain == "float" else 1.0 if isinstance(part, _ROUNDED) else 0.0
        off = (here.double() - there.cpu().double()).abs()
        assert off.numel() == 0 or off.max().item() <= allowed, (n, height, width)


def test_a_whole_chain_on_the_device_is_that_of_the_cpu(device: torch.device) -> None:
    """Draws and mixture come in one copy."""
    from pipeline import compose

    augmentation: Augmentation = compose(["randaugment", "standard", "ricap"], (0.5,) * 3, (0.25,) * 3)
    drawn = augmentation.draw(keys_of(np.arange(24)), 32, 32)
    images = images_for(augmentation.parts[0], 24, 32, 32)
    draws, mixture = drawn.to(device)
    there = augmentation.transform(images.to(device), draws)
    here = augmentation.transform(images, drawn.to(CPU)[0])
    assert (here - there.cpu()).abs().max() <= _FLOATS
    assert mixture is not None
    assert drawn.mixture is not None
    assert (mixture.device_partners.cpu().numpy() == drawn.mixture.partners).all()
    assert (mixture.device_coefficients.cpu().numpy() == drawn.mixture.coefficients).all()
