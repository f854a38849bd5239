from __future__ import annotations

import numpy as np
import pytest
import torch
from augment_keys import keys_of

from pipeline.augment.cutout import Cutout
from pipeline.errors import DataError
from pipeline.ops.memory import place


@pytest.mark.parametrize("size", [1, 4, 5, 19, 40, 16_384])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_blotting_out_one_by_one(size: int, dtype: torch.dtype) -> None:
    part, n, height, width = Cutout(size=size), 50, 9, 14
    images = torch.randn(n, 3, height, width).to(dtype)
    draws = part.draw(keys_of(n), height, width)
    out = part.apply(images, {name: place(array, torch.device("cpu")) for name, array in draws.items()})
    for i in range(n):
        expected = images[i].clone()
        for row in draws["rows"][i]:
            for column in draws["columns"][i]:
                expected[:, row, column] = 0
        assert torch.equal(out[i], expected)


def test_middles_are_uniform_and_squares_are_cut_off_at_the_borders() -> None:
    n, side, size = 50_000, 10, 4
    draws = Cutout(size=size).draw(keys_of(n), side, side)
    for name in ("rows", "columns"):
        first, last = draws[name].min(axis=1), draws[name].max(axis=1) + 1
        assert (np.diff(draws[name], axis=1) <= 1).all()
        assert (first.min(), last.max()) == (0, side)
        spans = np.bincount(first * 100 + last)
        expected: dict[int, float] = {}
        for middle in range(side):
            span = max(middle - 2, 0) * 100 + min(middle + 2, side)
            expected[span] = expected.get(span, 0) + n / side
        assert set(np.flatnonzero(spans).tolist()) == set(expected)
        # 9 degrees of freedom: 45 has p = 9e-7.
        assert sum((spans[span] - count) ** 2 / count for span, count in expected.items()) < 45


def test_sizes_below_a_pixel_are_refused() -> None:
    with pytest.raises(DataError, match="size must be at least 1 pixel; got 0"):
        Cutout(size=0)
    with pytest.raises(DataError, match="size must be at most 16384 pixels; got 16385: take less"):
        Cutout(size=16_385)


@pytest.mark.parametrize("size", [18, 19, 28, 30, 10_000])
def test_a_square_that_covers_the_image_from_anywhere_leaves_nothing_and_takes_little(size: int) -> None:
    draws = Cutout(size=size).draw(keys_of(500), 9, 14)
    for name, side in (("rows", 9), ("columns", 14)):
        assert draws[name].shape == (500, min(size, 2 * side))
        blotted = {len(set(one.tolist())) for one in draws[name]}
        assert blotted == {side} if size >= 2 * side else len(blotted) > 1
