"""Mixing after mixing: the labels' coefficients are what is seen of each image, or the chain is refused."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.augment import AUGMENTS, Augmentation, Mixing
from pipeline.augment.mixup import Mixup
from pipeline.augment.ricap import Ricap
from pipeline.errors import DataError
from pipeline.randomness import Keys

MIXING = {name: cls for name, cls in AUGMENTS.items() if isinstance(cls(), Mixing)}
PAIRS = list(product(MIXING, MIXING))
REFUSED = set(product(("ricap", "cutmix"), repeat=2))
HEIGHT, WIDTH = 12, 9


class Blend(Mixup):
    """Somebody's own mixing, of which nothing is known."""

    patches = True


def largest_error(augmentation: Augmentation, n: int, seed: int) -> float:
    """How far the labels' coefficients are from what is seen: image i alone has the color i."""
    images = torch.zeros(n, n, HEIGHT, WIDTH, dtype=torch.uint8)
    images[torch.arange(n), torch.arange(n)] = 255
    ids = np.arange(n, dtype=np.int64)
    drawn = augmentation.draw(Keys(seed, 0, seed, ids, np.zeros(n, np.int64)), HEIGHT, WIDTH)
    draws, mixture = drawn.to(images.device)
    assert mixture is not None
    seen = augmentation.transform(images, draws).mean(dim=(2, 3)).numpy()
    told = np.zeros((n, n))
    np.add.at(told, (ids[:, None], mixture.partners), mixture.coefficients)
    return float(np.abs(seen - told).max())


def augmentation_of(names: tuple[str, ...], n: int, *, per_sample: bool) -> Augmentation:
    return Augmentation([MIXING[name](per_sample=per_sample) for name in names], (0.0,) * n, (1.0,) * n)  # type: ignore[call-arg]


def test_every_mixing_part_is_looked_at() -> None:
    assert set(MIXING) == {"mixup", "ricap", "cutmix"}


@pytest.mark.parametrize("names", [pair for pair in PAIRS if pair not in REFUSED], ids="-".join)
@settings(max_examples=12, deadline=None)
@given(n=st.integers(1, 9), seed=st.integers(0, 2**31), per_sample=st.booleans())
def test_coefficients_are_what_is_seen(names: tuple[str, ...], n: int, seed: int, per_sample: bool) -> None:
    assert largest_error(augmentation_of(names, n, per_sample=per_sample), n, seed) < 1 / (HEIGHT * WIDTH)


@pytest.mark.parametrize("names", [*sorted(REFUSED), ("ricap", "mixup", "cutmix")], ids="-".join)
def test_pieces_of_pieces_are_refused(names: tuple[str, ...]) -> None:
    line = (
        f"{names[-1]} after {names[0]} would make the mixed labels' coefficients untrue.*: take one of them"
    )
    with pytest.raises(DataError, match=line) as caught:
        augmentation_of(names, 4, per_sample=False)
    assert "\n" not in str(caught.value)


def test_mixing_of_which_nothing_is_known_counts_as_patching() -> None:
    with pytest.raises(DataError, match="blend after ricap would make"):
        Augmentation([Ricap(), Blend()], None, None)
    Augmentation([Blend(), Mixup()], None, None)


@pytest.mark.parametrize("name", MIXING)
def test_feedback_by_position_is_of_the_ith_sample(name: str) -> None:
    ids = np.arange(5, dtype=np.int64)
    keys = Keys(3, 0, 0, ids, np.zeros(5, np.int64))
    own, position = MIXING[name](), MIXING[name](feedback="position")  # type: ignore[call-arg]
    assert isinstance(own, Mixing)
    assert isinstance(position, Mixing)
    plain = own.constituents(own.draw(keys, HEIGHT, WIDTH))
    mixture = position.constituents(position.draw(keys, HEIGHT, WIDTH))
    assert plain.credited is None
    assert mixture.credited is not None
    assert mixture.partners[mixture.credited == 1].tolist() == ids.tolist()
    assert (mixture.coefficients[:, :-1] == plain.coefficients).all()
    with pytest.raises(DataError, match="feedback must be one of constituents, position; got 'nobody'"):
        MIXING[name](feedback="nobody")  # type: ignore[call-arg]
