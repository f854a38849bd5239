from __future__ import annotations

import numpy as np
import pytest
import torch
from augment_keys import keys_of

from pipeline.augment.operations import OPERATIONS, apply_layers, draw_layer
from pipeline.augment.randaugment import Randaugment
from pipeline.augment.spaces import Space, modern, original, wide
from pipeline.augment.trivialaugment_wide import TrivialaugmentWide
from pipeline.errors import DataError
from pipeline.ops.memory import place
from pipeline.randomness import integers, sample_doubles

CPU = torch.device("cpu")


def one_by_one(pixels: np.ndarray, space: Space, uniform: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """One layer as the method is written down: for each sample an operation, a sign and a value."""
    out = []
    for image, (which, toss, *spot), bin_ in zip(pixels, uniform, bins, strict=True):
        row = int(which * len(space.names))
        value = space.values[row, bin_] * (-1 if space.signed[row] and toss < 0.5 else 1) + space.neutral[row]
        drawn = draw_layer(
            [space.names[row]], np.zeros(1, int), np.array([value]), np.array([spot]), *image.shape[:2]
        )
        draws = {name: place(array, CPU) for name, array in drawn.items()}
        out.append(apply_layers(torch.from_numpy(image[None].copy()), draws, [""])[0].numpy())
    return np.stack(out)


@pytest.mark.parametrize("magnitude", [None, 0, 30])
@pytest.mark.parametrize("name", ["original", "modern"])
def test_layers_follow_each_other(name: str, magnitude: int | None) -> None:
    part, n = Randaugment(operations=2, magnitude=magnitude, space=name), 70  # type: ignore[arg-type]
    pixels = np.random.default_rng(0).integers(0, 256, (n, 15, 20, 3), dtype=np.uint8)
    draws = {key: place(array, CPU) for key, array in part.draw(keys_of(n), 15, 20).items()}
    out = part.apply(torch.from_numpy(pixels).permute(0, 3, 1, 2), draws)
    space = original() if name == "original" else modern(15, 20)
    strength = {"original": 4, "modern": 9}[name] if magnitude is None else magnitude
    expected = pixels
    for layer in range(2):
        uniform = sample_doubles(keys_of(n), f"randaugment/{layer}", 4)
        expected = one_by_one(expected, space, uniform, np.full(n, strength))
    assert (out.permute(0, 2, 3, 1).numpy() == expected).all()


def test_trivialaugment_applies_one_operation_at_its_own_magnitude() -> None:
    part, n = TrivialaugmentWide(), 90
    pixels = np.random.default_rng(0).integers(0, 256, (n, 15, 20, 3), dtype=np.uint8)
    draws = {key: place(array, CPU) for key, array in part.draw(keys_of(n), 15, 20).items()}
    out = part.apply(torch.from_numpy(pixels).permute(0, 3, 1, 2), draws)
    uniform = sample_doubles(keys_of(n), "trivialaugment_wide", 5)
    expected = one_by_one(pixels, wide(), uniform[:, :4], integers(uniform[:, 4], 31))
    assert (out.permute(0, 2, 3, 1).numpy() == expected).all()


def test_operations_are_drawn_evenly_and_independently() -> None:
    n = 40_000
    draws = Randaugment(operations=2).draw(keys_of(n), 32, 32)
    layers = np.zeros((2, n), dtype=np.int64)
    operations = [OPERATIONS[name] for name in original().names]
    kinds = sorted({operation.kind for operation in operations if operation is not None})
    fraction = [sum(one is not None and one.kind == kind for one in operations) / 16 for kind in kinds]
    for layer in range(2):
        for index, kind in enumerate(kinds):
            layers[layer, draws[f"{layer}/{kind}/at"]] += index
    counts = np.bincount(layers[0] * len(kinds) + layers[1], minlength=len(kinds) ** 2)
    expected = n * np.outer(fraction, fraction).ravel()
    # 10 kinds: 99 degrees of freedom: 183 has p = 7e-7.
    assert len(kinds) == 10
    assert ((counts - expected) ** 2 / expected).sum() < 183


def test_signs_are_tossed_for() -> None:
    draws = Randaugment(operations=1, space="modern").draw(keys_of(30_000), 32, 32)
    factors = draws["0/color/with"]
    assert set(np.round(factors, 5).tolist()) == {np.float32(0.73).item(), np.float32(1.27).item()} or set(  # type: ignore[arg-type]
        np.round(factors.astype(float), 2).tolist()
    ) == {0.73, 1.27}
    assert abs((factors > 1).mean() - 0.5) < 5 * 0.5 / np.sqrt(len(factors))  # type: ignore[operator]


@pytest.mark.parametrize(
    "options",
    [{"operations": 0}, {"operations": 101}, {"magnitude": 31}, {"magnitude": -1}, {"space": "newest"}],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(DataError, match=f"{next(iter(options))} must be"):
        Randaugment(**options)  # type: ignore[arg-type]
