from __future__ import annotations

import numpy as np
import pytest
import torch
from augment_keys import keys_of

from pipeline.augment.ricap import Ricap
from pipeline.errors import DataError
from pipeline.ops.memory import place

CPU = torch.device("cpu")


def slow(pixels: np.ndarray, draws: dict[str, np.ndarray], i: int) -> np.ndarray:
    """Patch image i together, patch by patch; HWC."""
    height, width = pixels.shape[1:3]
    w, h = int(draws["width"][i]), int(draws["height"][i])
    out = np.empty_like(pixels[i])
    corners = [(0, 0, h, w), (0, w, h, width - w), (h, 0, height - h, w), (h, w, height - h, width - w)]
    for k, (row, column, rows, columns) in enumerate(corners):
        top, left = int(draws["top"][i, k]), int(draws["left"][i, k])
        assert 0 <= top <= height - rows
        assert 0 <= left <= width - columns
        source = pixels[draws["partners"][i, k]]
        out[row : row + rows, column : column + columns] = source[top : top + rows, left : left + columns]
    return out


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 12), (1, 3)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32])
def test_equals_patching_one_by_one(per_sample: bool, height: int, width: int, dtype: torch.dtype) -> None:
    part, n = Ricap(per_sample=per_sample), 11
    pixels = np.random.default_rng(3).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(dtype)
    for step in range(25):
        draws = dict(part.draw(keys_of(n, step), height, width))
        out = part.apply(images, {name: place(array, CPU) for name, array in draws.items()})
        assert out.dtype == dtype
        for i in range(n):
            assert (out[i].permute(1, 2, 0).to(torch.uint8).numpy() == slow(pixels, draws, i)).all()


def test_shares_are_the_patches_areas() -> None:
    draws = Ricap(per_sample=True).draw(keys_of(200), 10, 30)
    for i in range(200):
        w, h = int(draws["width"][i]), int(draws["height"][i])
        areas = [w * h, (30 - w) * h, w * (10 - h), (30 - w) * (10 - h)]
        assert draws["coefficients"][i].tolist() == (np.array(areas) / 300).astype(np.float32).tolist()


def test_the_point_is_a_rounded_beta_variate() -> None:
    n, size = 20_000, 8
    drawn = Ricap(alpha=0.3, per_sample=True).draw(keys_of(n), size, size)
    rng = np.random.default_rng(2)
    expected = np.bincount(np.rint(size * rng.beta(0.3, 0.3, 2_000_000)).astype(int)) / 2_000_000
    for name in ("width", "height"):
        counts = np.bincount(drawn[name], minlength=size + 1)
        # 8 degrees of freedom: 43 has p = 9e-7.
        assert ((counts - n * expected) ** 2 / (n * expected)).sum() < 43
    assert abs(np.corrcoef(drawn["width"], drawn["height"])[0, 1]) < 5 / np.sqrt(n)  # type: ignore[type-var]


def test_crops_lie_anywhere_in_their_images() -> None:
    draws = Ricap(alpha=5.0, per_sample=True).draw(keys_of(30_000), 8, 8)
    narrow = draws["width"] == 4
    for k in range(4):
        counts = np.bincount(draws["left"][narrow, k], minlength=5)
        expected = narrow.sum() / 5
        # 4 degrees of freedom: 33.4 has p = 1e-6.
        assert ((counts - expected) ** 2 / expected).sum() < 33.4


def test_one_layout_a_batch_as_published() -> None:
    draws = Ricap().draw(keys_of(16), 32, 32)
    for name in ("width", "height", "left", "top", "coefficients"):
        assert (draws[name] == draws[name][0]).all()
    for k in range(4):
        assert sorted(draws["partners"][:, k].tolist()) == list(range(16))
    layouts = {tuple(Ricap().draw(keys_of(2, step), 32, 32)["top"][0].tolist()) for step in range(20)}
    assert len(layouts) > 10


def test_alpha_must_be_positive() -> None:
    with pytest.raises(DataError, match="alpha must be above 0"):
        Ricap(alpha=-0.3)
