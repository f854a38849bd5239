from __future__ import annotations

import numpy as np
import pytest
import torch
from augment_keys import keys_of

from pipeline.augment.cutmix import Cutmix
from pipeline.errors import DataError
from pipeline.ops.memory import place

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "part", [Cutmix(), Cutmix(per_sample=True), Cutmix(per_sample=True, probability=0.5)]
)
@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 12), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_equals_pasting_one_by_one(part: Cutmix, height: int, width: int, dtype: torch.dtype) -> None:
    n = 40
    images = torch.randint(0, 256, (n, 3, height, width)).to(dtype)
    for step in range(5):
        draws = part.draw(keys_of(n, step), height, width)
        out = part.apply(images, {name: place(array, CPU) for name, array in draws.items()})
        assert out.dtype == dtype
        for i in range(n):
            top, bottom, left, right = (int(draws[name][i]) for name in ("top", "bottom", "left", "right"))
            expected = images[i].clone()
            expected[:, top:bottom, left:right] = images[draws["partner"][i], :, top:bottom, left:right]
            assert torch.equal(out[i], expected)


def test_the_share_is_what_remains() -> None:
    draws = Cutmix(per_sample=True).draw(keys_of(500), 20, 30)
    for i in range(500):
        mask = np.ones((20, 30))
        mask[draws["top"][i] : draws["bottom"][i], draws["left"][i] : draws["right"][i]] = 0
        assert draws["coefficient"][i] == np.float32(mask.mean())


def test_rectangles_are_drawn_as_published() -> None:
    """Away from the borders: sides of sqrt(1 - lambda), lambda even for alpha = 1; middles anywhere."""
    n, size = 40_000, 1000
    draws = Cutmix(per_sample=True).draw(keys_of(n), size, size)
    sides = draws["bottom"] - draws["top"]  # type: ignore[operator]
    whole = (draws["top"] > 0) & (draws["bottom"] < size) & (draws["left"] > 0) & (draws["right"] < size)  # type: ignore[operator]
    assert (sides[whole] == (draws["right"] - draws["left"])[whole]).all()  # type: ignore[operator]
    # P(side < s) for a side that fits entirely: the density of the side, 2s, times (1 - s)^2.
    fraction = np.sort(sides[whole]) / size
    expected = 6 * fraction**2 - 8 * fraction**3 + 3 * fraction**4
    distance = np.abs(np.arange(1, len(fraction) + 1) / len(fraction) - expected).max()
    assert distance * np.sqrt(len(fraction)) < 2.7 + 0.004 * np.sqrt(len(fraction))
    assert abs(whole.mean() - 1 / 6) < 0.015


def test_one_rectangle_a_batch_as_published() -> None:
    draws = Cutmix().draw(keys_of(16), 32, 32)
    assert all(
        (draws[name] == draws[name][0]).all() for name in ("top", "bottom", "left", "right", "coefficient")
    )
    assert sorted(draws["partner"].tolist()) == list(range(16))


def test_probability_is_how_often_anything_is_mixed() -> None:
    coefficient = Cutmix(probability=0.5, per_sample=True).draw(keys_of(4000), 64, 64)["coefficient"]
    assert abs((coefficient == 1).mean() - 0.5) < 0.05
    assert (Cutmix(probability=0).draw(keys_of(9), 64, 64)["coefficient"] == 1).all()


@pytest.mark.parametrize("options", [{"alpha": 0}, {"probability": 1.5}])
def test_options_that_cannot_work_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(DataError, match=f"{next(iter(options))} must be"):
        Cutmix(**options)  # type: ignore[arg-type]
