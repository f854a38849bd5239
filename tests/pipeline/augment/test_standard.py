from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from augment_keys import keys_of

from pipeline.augment.standard import Standard
from pipeline.errors import DataError
from pipeline.ops.memory import place
from pipeline.randomness import Keys


def slow(image: np.ndarray, part: Standard, top: int, left: int, flip: bool) -> np.ndarray:
    """One image, HWC."""
    mode: Any = "reflect" if part.fill == "reflect" else "constant"
    padded = np.pad(image, ((part.padding,) * 2, (part.padding,) * 2, (0, 0)), mode=mode)
    crop = padded[top : top + image.shape[0], left : left + image.shape[1]]
    return crop[:, ::-1] if flip else crop


BLACK = Standard(), Standard(flip=False), Standard(padding=0), Standard(padding=9)
REFLECTING = (
    Standard(fill="reflect", alternate=True),
    Standard(padding=0, fill="reflect"),
    Standard(3, False, "reflect"),
)


@pytest.mark.parametrize(
    ("part", "height", "width"),
    [
        *((part, *shape) for part in BLACK for shape in ((8, 8), (5, 11), (1, 1))),
        *((part, *shape) for part in REFLECTING for shape in ((5, 5), (8, 11))),
    ],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_equals_padding_cropping_and_flipping_one_by_one(
    part: Standard, height: int, width: int, bits: int
) -> None:
    n = 60
    dtype = np.uint8 if bits == 8 else np.uint16
    pixels = np.random.default_rng(0).integers(0, 2**bits, (n, height, width, 3), dtype=dtype)
    draws = part.draw(keys_of(n), height, width)
    out = part.apply(
        torch.from_numpy(pixels).permute(0, 3, 1, 2),
        {name: place(array, torch.device("cpu")) for name, array in draws.items()},
    )
    for i in range(n):
        expected = slow(pixels[i], part, draws["top"][i], draws["left"][i], bool(draws["flip"][i]))
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


def test_alternating_flips_turn_with_every_round_and_occurrence() -> None:
    part, ids = Standard(alternate=True), np.arange(4000)
    zeros = np.zeros_like(ids)

    def flips(round: int, occurrences: np.ndarray) -> np.ndarray:  # noqa: A002
        return np.asarray(part.draw(Keys(5, round, 0, ids, occurrences), 32, 32)["flip"])

    first = flips(0, zeros)
    # 50% of 4,000: five standard deviations are 158.
    assert abs(int(first.sum()) - 2000) < 158
    assert (flips(1, zeros) == ~first).all()
    assert (flips(6, zeros) == first).all()
    assert (flips(0, zeros + 1) == ~first).all()
    # The crop is drawn anew in every round, as ever.
    assert (
        part.draw(Keys(5, 1, 0, ids, zeros), 32, 32)["top"]
        == Standard().draw(Keys(5, 1, 0, ids, zeros), 32, 32)["top"]
    ).all()


def test_reflection_beyond_the_image_is_refused() -> None:
    with pytest.raises(
        DataError, match="by reflection must be less than the image's side of 4 pixels; got 4"
    ):
        Standard(fill="reflect").draw(keys_of(3), 8, 4)


def test_alternating_without_flips_is_refused() -> None:
    with pytest.raises(DataError, match="alternate is about flips, and flip is off"):
        Standard(flip=False, alternate=True)


def test_negative_padding_is_refused() -> None:
    with pytest.raises(DataError, match="padding must be at least 0 pixels; got -1"):
        Standard(padding=-1)


def test_padding_that_no_memory_could_hold_is_refused() -> None:
    assert Standard(padding=256).padding == 256
    with pytest.raises(
        DataError, match="padding must be at most 256 pixels; got 1000000: an eighth of the im"
    ):
        Standard(padding=1_000_000)
