"""Contract suite of augmentations' draws, which depend only on the keys."""

from __future__ import annotations

from dataclasses import is_dataclass, replace

import numpy as np
import pytest
import torch
from every_augmentation import CPU, drawn, every_mixing, every_other, every_part, images_for, keys_of

from pipeline.augment import Augment, Mixing
from pipeline.augment.autoaugment import Autoaugment
from pipeline.augment.blur import Blur
from pipeline.augment.color_jitter import ColorJitter
from pipeline.augment.cutout import Cutout
from pipeline.augment.randaugment import Randaugment
from pipeline.augment.trivialaugment_wide import TrivialaugmentWide
from pipeline.ops.memory import place


@every_part
def test_draws_say_everything(part: Augment) -> None:
    """Two draws for the same keys are equal, and drawing leaves no trace in any global generator."""
    keys = keys_of(np.arange(9) * 7)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    first, second = part.draw(keys, 32, 24), part.draw(keys, 32, 24)
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert np.array_equal(array, second[name])
        assert array.shape[0] <= 9 if "/" in name else array.shape[0] == 9
    images = images_for(part, 9, 32, 24)
    draws = drawn(part, keys, 32, 24)
    assert torch.equal(part.apply(images, draws), part.apply(images, draws))
    assert torch.equal(state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()  # type: ignore[index]  # noqa: NPY002


@every_part
@pytest.mark.parametrize("magnitude", [0.0, 0.5, 3.0])
def test_strength_and_resolution_change_values_alone(part: Augment, magnitude: float) -> None:
    """Whatever a run's progress makes of them, the same arrays are drawn, for as many samples each."""
    keys = keys_of(np.arange(9))
    usual = part.draw(keys, 16, 12)
    other = part.draw(replace(keys, magnitude=magnitude, resolution=0.5), 16, 12)
    assert {name: array.dtype for name, array in other.items()} == {
        name: array.dtype for name, array in usual.items()
    }
    images = images_for(part, 9, 16, 12)
    draws = {name: place(array, CPU) for name, array in other.items()}
    out = part.apply(images, draws)
    assert out.shape == part.apply(images, drawn(part, keys, 16, 12)).shape
    again = part.draw(replace(keys, magnitude=1.0, resolution=1.0), 16, 12)
    assert all(np.array_equal(again[name], array) for name, array in usual.items())


@pytest.mark.parametrize(
    ("part", "magnitude", "resolution", "same"),
    [
        (Randaugment(space="modern", magnitude=10), 0.5, 1.0, Randaugment(space="modern", magnitude=5)),
        (Randaugment(space="modern"), 1.5, 0.5, Randaugment(space="modern", magnitude=14)),
        (Randaugment(space="modern"), 9.0, 1.0, Randaugment(space="modern", magnitude=30)),
        (Randaugment(), 0.5, 1.0, Randaugment()),
        (TrivialaugmentWide(), 0.5, 1.0, TrivialaugmentWide()),
        (Autoaugment(), 0.5, 0.5, Autoaugment()),
        (ColorJitter(), 0.5, 0.5, ColorJitter(0.2, 0.2, 0.2, 0.05)),
        (ColorJitter(), 6.0, 1.0, ColorJitter(2.4, 2.4, 2.4, 0.5)),
        (Cutout(size=12), 0.5, 0.5, Cutout(size=6)),
        (Cutout(size=2), 1.0, 0.1, Cutout(size=1)),
        (Blur(sigma=(0.5, 3.0)), 0.5, 0.5, Blur(sigma=(0.25, 1.5))),
        (Blur(kernel=9), 1.0, 0.5, Blur(kernel=5, sigma=(0.05, 1.0))),
    ],
    ids=lambda value: type(value).__name__ if is_dataclass(value) else str(value),
)
def test_strength_and_resolution_are_as_options_scaled(
    part: Augment, magnitude: float, resolution: float, same: Augment
) -> None:
    keys = keys_of(np.arange(60))
    scaled = part.draw(replace(keys, magnitude=magnitude, resolution=resolution), 24, 20)
    expected = same.draw(keys, 24, 20)
    assert scaled.keys() == expected.keys()
    for name, array in expected.items():
        # Factors come of products in another order.
        assert np.allclose(scaled[name], array, rtol=1e-6, atol=1e-6), name


@pytest.mark.parametrize(
    ("part", "name", "furthest"),
    [(Randaugment(magnitude=15), "0/slide/with", 50), (TrivialaugmentWide(), "slide/with", 32)],
)
@pytest.mark.parametrize("resolution", [0.25, 0.5, 1.0])
def test_moves_in_pixels_scale_with_the_resolution(
    part: Augment, name: str, furthest: int, resolution: float
) -> None:
    """How far down rows are taken from, in 16.16 fixed point and from middle to middle."""
    keys = replace(keys_of(np.arange(4000)), resolution=resolution)
    down = part.draw(keys, 200, 8)[name][:, 2].astype(np.float64) / 65536 - 0.5
    assert abs(down.max() - furthest * resolution) < 1
    assert abs(down.min() + furthest * resolution) < 1


@every_part
def test_shapes_of_draws_follow_from_the_batch_alone(part: Augment) -> None:
    shapes = set()
    for step in range(20):
        draws = part.draw(keys_of(np.arange(5) + step * 100, step), 32, 32)
        # Groups, whose names have a slash, differ in length; the host knows it.
        shapes.add(
            tuple((name, array.shape["/" in name :], array.dtype.str) for name, array in draws.items())
        )
    assert len(shapes) == 1


@every_other
def test_a_sample_is_augmented_alike_in_every_batch(part: Augment) -> None:
    ids = np.arange(24) * 5
    images = images_for(part, 24, 32, 32)
    whole = part.apply(images, drawn(part, keys_of(ids), 32, 32))
    for places in np.array_split(np.arange(24), 5):
        split = part.apply(images[places], drawn(part, keys_of(ids[places], step=8), 32, 32))
        assert torch.equal(split, whole[places])


@every_mixing
@pytest.mark.parametrize("n", [0, 1, 2, 33])
def test_shares_of_a_mixture_sum_to_one(part: Mixing, n: int) -> None:
    for step in range(10):
        mixture = part.constituents(part.draw(keys_of(np.arange(n), step), 30, 22))
        partners, coefficients = mixture.partners, mixture.coefficients
        assert partners.dtype == np.int64
        assert coefficients.dtype == np.float32
        assert partners.shape == coefficients.shape
        assert partners.shape[0] == n
        assert ((partners >= 0) & (partners < max(n, 1))).all()
        assert (coefficients >= 0).all()
        assert np.allclose(coefficients.sum(axis=1), 1, atol=1e-6)
