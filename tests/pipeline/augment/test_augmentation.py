from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest
import torch
from augment_keys import keys_of
from torchvision.transforms import v2

import pipeline
from pipeline.augment import AUGMENTS, Draws, Transform, compose
from pipeline.augment.augmentation import Augmentation
from pipeline.augment.mixup import Mixup
from pipeline.augment.none import NoAugment
from pipeline.augment.ricap import Ricap
from pipeline.augment.standard import Standard
from pipeline.batch import Cursor, RawBatch, RawView
from pipeline.errors import DataError
from pipeline.ops.memory import place
from pipeline.randomness import Keys
from pipeline.views import Views

CPU = torch.device("cpu")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class Inverted(NoAugment):
    """Inverts every image."""

    def apply(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        return 255 - images


def on_device(drawn: object) -> list[dict[str, torch.Tensor]]:
    return [{name: place(array, CPU) for name, array in part.items()} for part in drawn.parts]  # type: ignore[attr-defined]


def test_normalizes_as_the_definition_says() -> None:
    images = torch.randint(0, 256, (5, 3, 9, 4), dtype=torch.uint8)
    out = Augmentation([], MEAN, STD).normalize(images)
    expected = (images.double() / 255 - torch.tensor(MEAN).double()[:, None, None]) / torch.tensor(
        STD
    ).double()[:, None, None]
    assert out.dtype == torch.float32
    assert torch.allclose(out.double(), expected, atol=2e-6)
    assert Augmentation([], MEAN, STD).normalize(images[:0]).shape == (0, 3, 9, 4)
    half = Augmentation([], MEAN, STD, dtype=torch.bfloat16).normalize(images)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, out.to(torch.bfloat16))


def test_parts_follow_each_other() -> None:
    parts = [Standard(), Ricap(), Mixup()]
    whole, n = Augmentation(parts, MEAN, STD), 6  # type: ignore[arg-type]
    draws = whole.draw(keys_of(n, first=100), 16, 16)
    images = torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8)
    one, two, three = on_device(draws)
    expected = parts[1].apply(parts[0].apply(images, one), two)  # type: ignore[attr-defined]
    expected = parts[2].apply(whole.normalize(expected), three)  # type: ignore[attr-defined]
    assert torch.equal(whole.transform(images, (one, two, three)), expected)


def test_two_mixings_compose() -> None:
    """Each of mixup's two images is RICAP's mixture of four: eight constituents, coefficients multiplied."""
    whole, n = Augmentation([Ricap(), Mixup()], MEAN, STD), 5
    draws = whole.draw(keys_of(n, first=100), 16, 16)
    ricap, mixup = draws.parts
    mixture = draws.mixture
    assert mixture is not None
    assert mixture.partners.shape == mixture.coefficients.shape == (n, 8)
    for i in range(n):
        expected = []
        for image, weight in (
            (i, mixup["coefficient"][i]),
            (mixup["partner"][i], 1 - mixup["coefficient"][i]),
        ):
            for k in range(4):
                expected.append((ricap["partners"][image, k], weight * ricap["coefficients"][image, k]))
        assert mixture.partners[i].tolist() == [partner for partner, _ in expected]
        assert np.allclose(mixture.coefficients[i], [coefficient for _, coefficient in expected], atol=1e-7)
    assert np.allclose(mixture.coefficients.sum(1), 1, atol=1e-6)


def test_shares_are_what_is_seen_of_each_image() -> None:
    """Images of one level each: a mixture's mean level is the coefficients' weighted sum."""
    n = 8
    images = (torch.arange(n, dtype=torch.uint8) * 30)[:, None, None, None].expand(n, 3, 16, 16)
    for parts in ([Mixup()], [Ricap()], [Ricap(per_sample=True), Mixup(per_sample=True)], [Mixup(), Ricap()]):
        mixing = Augmentation(parts, (0.0,) * 3, (1 / 255,) * 3)  # type: ignore[arg-type]
        draws = mixing.draw(keys_of(n, first=100), 16, 16)
        out = mixing.transform(images, on_device(draws))
        assert draws.mixture is not None
        expected = (draws.mixture.coefficients * draws.mixture.partners * 30).sum(1)
        assert np.allclose(out.mean(dim=(1, 2, 3)).numpy(), expected, atol=0.01)


def test_a_second_part_of_a_kind_draws_on_its_own() -> None:
    twice = Augmentation([Mixup(), Mixup()], MEAN, STD).draw(keys_of(9, first=100), 32, 32)
    once = Augmentation([Mixup()], MEAN, STD).draw(keys_of(9, first=100), 32, 32)
    first, second = twice.parts
    assert all((first[name] == once.parts[0][name]).all() for name in first)
    assert (first["partner"] != second["partner"]).any()
    assert (first["coefficient"] != second["coefficient"]).any()


def test_another_part_in_front_changes_no_draw() -> None:
    alone = Augmentation([Ricap()], MEAN, STD).draw(keys_of(9, first=100), 32, 32).parts[0]
    behind = Augmentation([Standard(), Ricap()], MEAN, STD).draw(keys_of(9, first=100), 32, 32).parts[1]
    assert all((alone[name] == behind[name]).all() for name in alone)


def test_applies_to_a_batch_and_changes_its_images_only() -> None:
    whole, keys = Augmentation([Standard()], MEAN, STD), keys_of(4, first=100)
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    view = RawView(images, tuple(on_device(whole.draw(keys, 8, 8))))
    raw = RawBatch(
        ids=keys.ids,
        views=(view,),
        augmentation=Views((whole,)),
        targets={"label": torch.zeros(4, dtype=torch.int64)},
        mixture=None,
        weights=torch.ones(4),
        cursor=Cursor(0, 0, keys.occurrences),
    )
    out = raw.augment()
    assert torch.equal(out.images, whole.transform(images, view.draws))
    for name in ("ids", "targets", "mixture", "weights", "cursor"):
        assert getattr(out, name) is getattr(raw, name)


def test_names_stand_for_parts_with_defaults() -> None:
    named = compose(["standard", Ricap(alpha=2.0)], MEAN, STD)
    assert named.parts == (Standard(), Ricap(alpha=2.0))
    for name, part in AUGMENTS.items():
        assert compose([name], MEAN, STD).parts == (part(),)


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        (["mixup", "standard"], "put standard before mixup"),
        (["cutout", "standard"], "standard works on gray levels and cutout on normalized pixels"),
        (["mixup", "trivialaugment_wide"], "put trivialaugment_wide before mixup"),
        (["cutmix", "cutout"], "put cutout before cutmix"),
        (["ricap", "standard"], "standard after ricap would make the mixed labels' coefficients untrue"),
        (["riccap"], "an augmentation must be one of none, standard, .*; got 'riccap'"),
    ],
)
def test_orders_that_cannot_work_are_refused_with_the_reason(parts: list[str], line: str) -> None:
    with pytest.raises(DataError, match=line):
        compose(parts, MEAN, STD)


def test_constants_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="each hold one value per channel; got 3 and 1"):
        Augmentation([], MEAN, (0.5,))
    with pytest.raises(DataError, match="std must be above 0"):
        Augmentation([], MEAN, (0.5, 0.0, 0.5))
    with pytest.raises(DataError, match="3 channels of mean and std; got 1"):
        Augmentation([], MEAN, STD).normalize(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))


def test_draws_of_another_chain_are_refused() -> None:
    with pytest.raises(DataError, match="an augmentation of 1 parts needs that many draws; got 0"):
        Augmentation([Standard()], MEAN, STD).transform(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), ())


# --- In a loop of one's own ------------------------------------------------------------------------------


def test_a_call_draws_and_applies() -> None:
    n, labels = 10, torch.arange(10)
    images = torch.randint(0, 256, (n, 3, 12, 12), dtype=torch.uint8)
    for names in ([], ["standard", "randaugment"], ["standard", "ricap", "mixup"], ["multi"]):
        whole = compose(names, MEAN, STD)
        out, mixed, coefficients = whole(images, labels, step=5, seed=3)
        indices = np.arange(n)
        draws = whole.draw(Keys(3, 5, 5, indices, np.zeros(n, np.int64)), 12, 12)
        assert torch.equal(out, whole.transform(images, on_device(draws)))
        if draws.mixture is None:
            assert torch.equal(mixed, labels[:, None])
            assert torch.equal(coefficients, torch.ones(n, 1))
        else:
            assert torch.equal(mixed, torch.from_numpy(draws.mixture.partners))
            assert torch.equal(coefficients, torch.from_numpy(draws.mixture.coefficients))
        assert all(
            torch.equal(*pair)
            for pair in zip(whole(images, labels, step=5, seed=3), (out, mixed, coefficients), strict=True)
        )


def test_calls_are_counted_where_no_step_is_given() -> None:
    images, labels = (
        torch.randint(0, 256, (6, 3, 12, 12), dtype=torch.uint8),
        torch.zeros(6, dtype=torch.int64),
    )
    whole = compose(["standard"], MEAN, STD)
    counted = [whole(images, labels)[0] for _ in range(3)]
    told = [whole(images, labels, step=step)[0] for step in range(3)]
    assert all(torch.equal(one, other) for one, other in zip(counted, told, strict=True))
    assert not torch.equal(counted[0], counted[1])
    assert torch.equal(whole(images, labels)[0], whole(images, labels, step=3)[0])
    assert not torch.equal(whole(images, labels, step=0, seed=1)[0], told[0])


def test_a_call_with_what_it_cannot_take_is_refused() -> None:
    whole, images = compose(["standard"], MEAN, STD), torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    with pytest.raises(DataError, match=r"uint8 of shape \[n, C, H, W\]; got torch.float32"):
        whole(images.float(), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(DataError, match="labels must be one per image"):
        whole(images, torch.zeros(2, 1, dtype=torch.int64))


def test_torchvisions_transforms_stand_beside_ours() -> None:
    images = torch.randint(0, 256, (6, 3, 12, 12), dtype=torch.uint8)
    labels = torch.zeros(6, dtype=torch.int64)
    theirs = v2.RandomInvert(p=1.0)
    out, *_ = compose(["standard", theirs, "ricap"], MEAN, STD)(images, labels, step=0)
    ours, *_ = compose(["standard", Inverted(), "ricap"], MEAN, STD)(images, labels, step=0)
    assert torch.equal(out, ours)
    each = Transform(v2.RandomInvert(p=0.5), per_sample=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        changed = (each.apply(images, {}) != images).flatten(1).any(1)
    assert 0 < changed.sum() < 6
    assert each.apply(images[:0], {}).shape == (0, 3, 12, 12)
    assert each.apply(images, {}).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("function", [v2.Resize(6), v2.ToDtype(torch.float32, scale=True)])
def test_a_transform_that_changes_the_shape_or_dtype_is_refused(function: torch.nn.Module) -> None:
    with pytest.raises(DataError, match=r"must keep the shape \(2, 3, 12, 12\) and dtype uint8; .* returned"):
        Transform(function).apply(torch.zeros(2, 3, 12, 12, dtype=torch.uint8), {})


def test_the_readmes_example() -> None:
    failed, tried = doctest.testfile(
        str(Path(pipeline.__file__).with_name("README.md")), module_relative=False
    )
    assert tried > 0
    assert failed == 0
