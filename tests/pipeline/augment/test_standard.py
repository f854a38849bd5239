from __future__ import annotations

import numpy as np
import pytest
import torch
from augment_keys import keys_of

from pipeline.augment.standard import Standard
from pipeline.errors import DataError
from pipeline.ops.memory import place


def slow(image: np.ndarray, padding: int, top: int, left: int, flip: bool) -> np.ndarray:
    """One image, HWC."""
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    crop = padded[top : top + image.shape[0], left : left + image.shape[1]]
    return crop[:, ::-1] if flip else crop


@pytest.mark.parametrize("part", [Standard(), Standard(flip=False), Standard(padding=0), Standard(padding=9)])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 11), (1, 1)])
def test_equals_padding_cropping_and_flipping_one_by_one(part: Standard, height: int, width: int) -> None:
    n = 60
    pixels = np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    draws = part.draw(keys_of(n), height, width)
    out = part.apply(
        torch.from_numpy(pixels).permute(0, 3, 1, 2),
        {name: place(array, torch.device("cpu")) for name, array in draws.items()},
    )
    for i in range(n):
        expected = slow(pixels[i], part.padding, draws["top"][i], draws["left"][i], bool(draws["flip"][i]))
        assert (out[i].permute(1, 2, 0).numpy() == expected).all()


def test_places_and_flips_are_uniform_and_independent() -> None:
    n = 81 * 2 * 250
    draws = Standard().draw(keys_of(n), 32, 32)
    cell = (draws["top"] * 9 + draws["left"]) * 2 + draws["flip"]  # type: ignore[operator]
    counts = np.bincount(cell, minlength=162)
    assert len(counts) == 162
    # 161 degrees of freedom: 262 has p = 9e-7.
    assert ((counts - 250) ** 2 / 250).sum() < 262


def test_flips_nothing_when_told_so() -> None:
    assert not Standard(flip=False).draw(keys_of(500), 32, 32)["flip"].any()


def test_negative_padding_is_refused() -> None:
    with pytest.raises(DataError, match="padding must be at least 0 pixels; got -1"):
        Standard(padding=-1)


def test_padding_that_no_memory_could_hold_is_refused() -> None:
    assert Standard(padding=256).padding == 256
    with pytest.raises(
        DataError, match="padding must be at most 256 pixels; got 1000000: an eighth of the im"
    ):
        Standard(padding=1_000_000)
