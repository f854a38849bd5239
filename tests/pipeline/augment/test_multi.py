from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import Augmentation, Loader, open_dataset
from pipeline.augment import AUGMENTS
from pipeline.augment.autoaugment import Autoaugment
from pipeline.augment.color_jitter import ColorJitter
from pipeline.augment.multi import Multi
from pipeline.augment.randaugment import Randaugment
from pipeline.augment.sequence import apply_in_turn, draw_in_turn
from pipeline.augment.standard import Standard
from pipeline.augment.trivialaugment_wide import TrivialaugmentWide
from pipeline.errors import DataError
from pipeline.multiplied import Multiplied, choose_classes
from pipeline.ops.memory import place
from pipeline.randomness import Keys, integers, uniforms

CPU = torch.device("cpu")


def keys_of(n: int, copies: np.ndarray | None = None) -> Keys:
    return Keys(0, 0, 0, np.arange(n) * 3, np.zeros(n, np.int64), copies=copies)


def applied(part: Multi, keys: Keys, images: torch.Tensor) -> torch.Tensor:
    height, width = images.shape[2:]
    draws = {name: place(array, CPU) for name, array in part.draw(keys, height, width).items()}
    return part.apply(images, draws)


def one_by_one(part: Multi, keys: Keys, images: torch.Tensor, which: np.ndarray) -> torch.Tensor:
    out = []
    for index, choice in enumerate(which):
        alone = Keys(0, 0, 0, keys.ids[[index]], keys.occurrences[[index]], scope=f"multi/{choice}/")
        parts = part.choices()[choice]
        draws = draw_in_turn(parts, alone, *images.shape[2:])
        tensors = {name: place(array, CPU) for name, array in draws.items()}
        out.append(apply_in_turn(parts, images[index : index + 1], tensors))
    return torch.cat(out)


@pytest.mark.parametrize("copied", [False, True])
def test_equals_each_samples_own_augmentation(copied: bool) -> None:
    part, n = Multi(parts=("none", "randaugment+standard", "ssl", "standard")), 60
    images = torch.randint(0, 256, (n, 3, 14, 19), dtype=torch.uint8)
    keys = keys_of(n, np.arange(n) % 7 if copied else None)
    which = np.arange(n) % 7 % 4 if copied else integers(uniforms(keys, "multi", 1)[:, 0], 4)
    assert set(which) == {0, 1, 2, 3}
    assert torch.equal(applied(part, keys, images), one_by_one(part, keys, images, which))


def test_the_defaults_are_the_five_of_the_paper() -> None:
    assert Multi().choices() == (
        (Standard(),),
        (Standard(),),
        (Autoaugment(policy="cifar10"),),
        (Randaugment(operations=2, space="modern"),),
        (TrivialaugmentWide(),),
    )


def test_choices_are_even() -> None:
    n, part = 30_000, Multi(parts=("none", "standard", "none"))
    draws = part.draw(keys_of(n), 8, 8)
    counts = np.array([len(draws[f"{k}/samples"]) for k in range(3)])
    # 2 degrees of freedom: 27.6 has p = 1e-6.
    assert ((counts - n / 3) ** 2 / (n / 3)).sum() < 27.6


def test_two_choices_of_a_kind_draw_on_their_own() -> None:
    part, keys = Multi(parts=("standard", "standard")), keys_of(50)
    images = torch.randint(0, 256, (50, 3, 12, 12), dtype=torch.uint8)
    first = applied(part, replace(keys, copies=np.zeros(50, np.int64)), images)
    second = applied(part, replace(keys, copies=np.ones(50, np.int64)), images)
    assert (first != second).flatten(1).any(1).sum() > 40


@pytest.mark.parametrize("name", [name for name in AUGMENTS if AUGMENTS[name].domain == "uint8"])
def test_takes_whatever_works_on_gray_levels_of_one_image(name: str) -> None:
    if name == "multi":
        with pytest.raises(DataError, match="parts of multi must be of"):
            Multi(parts=(name,))
    else:
        assert Multi(parts=(name,)).choices()[0][0].domain == "uint8"


@pytest.mark.parametrize("parts", [("mixup",), ("standard", "standard+ricap"), ("cutout",), ("standrad",)])
def test_others_are_refused(parts: tuple[str, ...]) -> None:
    with pytest.raises(
        DataError, match=r"parts of multi must be of none, standard, .*; got '(mix|ric|cut|sta)"
    ):
        Multi(parts=parts)


def test_parts_carry_options_and_come_round_again() -> None:
    """The five of the sample-importance paper's appendix C, after a random resized crop; 20 copies."""
    five = Multi(
        parts=(
            "standard:padding=0",
            "standard:padding=0+color_jitter:probability=1",
            "autoaugment:policy=imagenet",
            "randaugment:magnitude=18",
            "trivialaugment_wide",
        )
    )
    assert five.choices() == (
        (Standard(padding=0),),
        (Standard(padding=0), ColorJitter(probability=1.0)),
        (Autoaugment(policy="imagenet"),),
        (Randaugment(magnitude=18, space="modern"),),
        (TrivialaugmentWide(),),
    )
    drawn = five.draw(keys_of(60, np.repeat(np.arange(20), 3)), 8, 8)
    assert [drawn[f"{k}/samples"].tolist() for k in range(5)] == [
        [3 * copy + i for copy in range(k, 20, 5) for i in range(3)] for k in range(5)
    ]


@pytest.mark.parametrize("part", ["random_resized_crop:size=8", "ssl:size=9", "none+center_crop:size=2,3"])
def test_parts_of_multi_leave_images_their_size(part: str) -> None:
    with pytest.raises(
        DataError, match=r"must not change the image size.*put (random|ssl|center).* before multi"
    ):
        Multi(parts=("none", part))


def test_options_that_cannot_work_are_refused() -> None:
    with pytest.raises(DataError, match="at least one augmentation"):
        Multi(parts=())
    with pytest.raises(DataError, match="space must be original or modern"):
        Multi(space="newest")  # type: ignore[arg-type]


# --- A data set multiplied -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    ids: np.ndarray
    round: int = 0
    weights: None = None


def test_every_copy_is_a_sample_of_its_own(fashion: Path) -> None:
    data = open_dataset(fashion / "fashion_mnist" / "train.beton")
    view = Multiplied(data, 3)
    n = len(data)
    assert len(view) == 3 * n
    assert (view.stored == np.tile(np.arange(n), 3)).all()
    assert (view.copies == np.repeat(np.arange(3), n)).all()
    assert (view.labels == np.tile(data.labels, 3)).all()
    assert (view.image(n + 5) == data.image(5)).all()
    assert view.name(5) == data.name(5)
    assert view.name(2 * n + 5) == f"{data.name(5)}, copy 3"


def test_only_the_chosen_classes_are_multiplied(fashion: Path) -> None:
    data = open_dataset(fashion / "fashion_mnist" / "train.beton")
    view = Multiplied(data, 5, classes=[2, 7])
    expected = data.card.class_counts * np.where(np.isin(np.arange(10), [2, 7]), 5, 1)
    assert (np.bincount(view.labels) == expected).all()
    assert (view.labels == data.labels[view.stored]).all()
    assert len(set(zip(view.stored, view.copies, strict=True))) == len(view)


def test_the_loader_reads_an_image_once_and_augments_each_copy_its_way(fashion: Path) -> None:
    data = open_dataset(fashion / "fashion_mnist" / "train.beton")
    view, part = Multiplied(data, 2, classes=[0, 1]), Multi(parts=("none", "solarize+standard"))
    augmentation = Augmentation([part], (0.3,) * 3, (0.3,) * 3)
    ids = np.random.default_rng(0).permutation(len(view))[:90]
    with Loader(view, batch_size=40, augment=augmentation, device="cpu") as loader:
        for raw in loader.raw_batches(Order(ids)):
            assert (raw.targets["label"].numpy() == view.labels[raw.ids]).all()
            stored = torch.from_numpy(np.stack([data.image(int(view.stored[i])) for i in raw.ids]))
            images = stored.permute(0, 3, 1, 2)
            assert torch.equal(raw.images, images)
            keys = Keys(0, 0, 0, raw.ids, np.zeros(len(raw.ids), np.int64))
            expected = one_by_one(part, keys, images, view.copies[raw.ids])
            assert torch.equal(raw.augment().images, augmentation.normalize(expected))


def test_what_cannot_be_multiplied_is_refused(fashion: Path) -> None:
    data = open_dataset(fashion / "fashion_mnist" / "train.beton")
    with pytest.raises(DataError, match="times must be at least 1"):
        Multiplied(data, 0)
    with pytest.raises(DataError, match="classes must be labels of the data set; got 10"):
        Multiplied(data, 2, classes=[3, 10])


def test_classes_to_multiply_follow_from_the_seed_alone_and_are_drawn_evenly() -> None:
    assert choose_classes(100, 0.2, 7) == choose_classes(100, 0.2, 7) != choose_classes(100, 0.2, 8)
    assert choose_classes(10, 1.0, 3) == list(range(10))
    drawn = [choose_classes(10, 0.2, seed) for seed in range(2000)]
    assert all(len(set(chosen)) == 2 and chosen == sorted(chosen) for chosen in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=10)
    # Each pair holds two different classes, so the statistic is below chi-square's with 9 degrees of freedom,
    # whose value at p = 1e-6 is 45.
    assert ((counts - 400) ** 2 / 400).sum() < 45


def test_a_share_that_comes_to_no_class_is_refused() -> None:
    with pytest.raises(DataError, match=r"at least one; got 0\.1 of 4: raise it to 0\.25"):
        choose_classes(4, 0.1, 0)
