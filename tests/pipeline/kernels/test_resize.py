"""Resized windows, to the last bit: rounded after each step, on processors that fuse steps as on others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.kernels.resize import find_taps, resize_window

HALF = np.float32(0.5 + 2.0**-13)


def by_steps(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Resize the first direction to ``count``, each product and each sum rounded to single precision."""
    length = len(values)
    stretch = 2 * int(np.ceil(max(length / count, 1.0))) + 1
    starts, counts = np.empty(count, np.int64), np.empty(count, np.int64)
    weights = np.zeros(count * stretch, np.float32)
    find_taps(0.0, float(length), False, starts, counts, weights)
    sums = np.zeros((count, *values.shape[1:]), np.float32)
    for tap in range(counts.max()):
        taken = counts > tap
        sums[taken] += weights[tap::stretch][taken, None, None] * values[starts[taken] + tap]
    return sums


def test_each_product_and_each_sum_is_rounded() -> None:
    """Fused ones differ in about 2 of a million values: some of these 5 million."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width = map(int, rng.integers(150, 500, 2))
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        out = np.empty((176, 176, 3), np.uint8)
        resize_window(image.reshape(-1), width, 0.0, 0.0, float(height), float(width), False, out)
        rows = by_steps(image.astype(np.float32), 176)
        sums = by_steps(rows.transpose(1, 0, 2), 176).transpose(1, 0, 2)
        assert (out == (sums + HALF).astype(np.int32)).all()
