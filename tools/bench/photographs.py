"""Synthetic images with the decoding cost of photographs: gradients, edges, and texture of every scale."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SHAPES = 12
_TEXTURE = ((1, 4.0), (2, 8.0), (4, 9.0), (8, 10.0), (16, 12.0))
"""Size of the grain in pixels, and its strength in levels: some 70 KB per 500 px image as JPEG 90."""


def photographs(count: int, pixels: int) -> NDArray[np.uint8]:
    """Return seeded images, uint8[count, pixels, pixels, 3]."""
    out = np.empty((count, pixels, pixels, 3), np.uint8)
    with ThreadPoolExecutor() as pool:
        for place, picture in enumerate(pool.map(lambda seed: _photograph(seed, pixels), range(count))):
            out[place] = picture
    return out


def _photograph(seed: int, pixels: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    light = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    picture = np.asarray(light.resize((pixels, pixels), Image.Resampling.BICUBIC), np.float32).copy()
    rows, columns = np.ogrid[:pixels, :pixels]
    for _ in range(_SHAPES):
        row, column = rng.uniform(0, pixels, 2)
        radius, flat = rng.uniform(0.02, 0.24) * pixels, rng.uniform(0.4, 1)
        inside = (columns - column) ** 2 + ((rows - row) * flat) ** 2 < radius**2
        picture[inside] = 0.3 * picture[inside] + 0.7 * rng.uniform(0, 255, 3)
    for grain, strength in _TEXTURE:
        side = pixels // grain + 1
        noise = Image.fromarray(rng.standard_normal((side, side), dtype=np.float32))
        smooth = np.asarray(noise.resize((pixels, pixels), Image.Resampling.BILINEAR))
        picture += strength * smooth[:, :, None]
    return picture.clip(0, 255).astype(np.uint8)
