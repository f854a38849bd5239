"""Content of a loader's batches, for any threads, engine and rank."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loader_orders import MEAN, STD, Order, mixing, random_order
from torch import Tensor

from pipeline import Batch, Loader, compose
from pipeline.engines.ffcv import FfcvEngine
from pipeline.engines.resident import ResidentEngine
from pipeline.formats import Beton
from pipeline.loading.assembly import Assembly
from pipeline.randomness import Keys, occurrences


def same(one: Batch, other: Batch) -> bool:
    assert one.mixture is not None
    assert other.mixture is not None
    assert one.cursor is not None
    assert other.cursor is not None
    names = ("device_partners", "device_coefficients")
    arrays = ("partners", "coefficients")
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.targets["label"], other.targets["label"])
        and all(torch.equal(getattr(one.mixture, name), getattr(other.mixture, name)) for name in names)
        and all(np.array_equal(getattr(one.mixture, name), getattr(other.mixture, name)) for name in arrays)
        and np.array_equal(one.ids, other.ids)  # type: ignore[arg-type]
        and (one.cursor.round, one.cursor.step) == (other.cursor.round, other.cursor.step)
    )


def test_a_plain_batch(data: Beton) -> None:
    order = random_order(50, len(data), 3)
    with Loader(data, batch_size=20, device="cpu") as loader:
        batches = list(loader.batches(order))
    assert [len(batch.ids) for batch in batches] == [20, 20, 10]
    for step, batch in enumerate(batches):
        ids = order.ids[step * 20 : step * 20 + 20]
        assert batch.cursor is not None
        assert (batch.cursor.round, batch.cursor.step) == (3, step)
        assert batch.ids.tolist() == ids.tolist()
        assert batch.images.dtype == torch.uint8
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert (batch.images.permute(0, 2, 3, 1).numpy() == [data.image(int(index)) for index in ids]).all()
        assert batch.targets.keys() == {"label"}
        assert batch.targets["label"].tolist() == data.labels[ids].tolist()
        assert batch.mixture is None
        assert batch.weights is None
        assert len(batch.views) == 1


def test_a_batch_of_mixtures_names_its_constituents(data: Beton) -> None:
    order, augment = random_order(64, len(data), 5), mixing()
    counted = occurrences(order.ids)
    with Loader(data, batch_size=32, augment=augment, seed=9, device="cpu") as loader:
        for step, raw in enumerate(loader.raw_batches(order)):
            part = slice(step * 32, step * 32 + 32)
            keys = Keys(9, 5, step, order.ids[part], counted[part])
            drawn = augment.draw(keys, 28, 28)
            batch, mixture, (view,) = raw.augment(), raw.mixture, raw.views
            assert mixture is not None
            assert drawn.mixture is not None
            sources = raw.ids[mixture.partners]
            labels = batch.constituents(batch.targets["label"])
            assert sources.shape == labels.shape == mixture.coefficients.shape == (32, 8)
            assert (sources == order.ids[part][drawn.mixture.partners]).all()
            assert (labels.numpy() == data.labels[sources]).all()
            assert (mixture.device_partners.numpy() == drawn.mixture.partners).all()
            assert (mixture.device_coefficients.numpy() == drawn.mixture.coefficients).all()
            assert (mixture.coefficients == drawn.mixture.coefficients).all()
            for tensors, arrays in zip(view.draws, drawn.parts, strict=True):
                assert tensors.keys() == arrays.keys()
                assert all(np.array_equal(tensors[name].numpy(), arrays[name]) for name in arrays)
            assert batch.images.dtype == torch.float32
            assert torch.equal(batch.images, augment.transform(raw.images, view.draws))


def test_weights_go_with_their_samples(data: Beton) -> None:
    weights = np.random.default_rng(0).random(40).astype(np.float32)
    order = Order(np.arange(40), weights=weights)
    with Loader(data, batch_size=16, device="cpu") as loader:
        given_weights = [batch.weights for batch in loader.batches(order)]
    assert all(isinstance(tensor, Tensor) and tensor.dtype == torch.float32 for tensor in given_weights)
    assert torch.cat(given_weights).tolist() == weights.tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("mixing", ["mixup", "cutmix", "ricap"])
def test_a_constituent_brings_its_own_weight_into_a_mixture(data: Beton, mixing: str) -> None:
    weights = np.random.default_rng(0).random(40).astype(np.float32)
    augment = compose([mixing], data.card.mean, data.card.std)
    with Loader(data, augment=augment, batch_size=40, device="cpu") as loader:
        (batch,) = loader.batches(Order(np.arange(40), weights=weights))
    assert batch.weights is not None
    assert batch.mixture is not None
    assert (batch.mixture.partners != np.arange(40)[:, None]).any()
    assert (batch.constituents(batch.weights).numpy() == weights[batch.mixture.partners]).all()


def test_a_batch_shares_no_memory_with_the_order(data: Beton) -> None:
    order, augment = Order(np.arange(8), weights=np.ones(8, np.float32)), compose(["mixup"], MEAN, STD)
    with Loader(data, augment=augment, batch_size=8, device="cpu") as loader:
        raw = next(loader.raw_batches(order))
    raw.ids[:] = 0
    assert raw.weights is not None
    assert raw.mixture is not None
    raw.weights.zero_()
    raw.mixture.device_coefficients.zero_()
    assert order.ids.tolist() == list(range(8))
    assert order.weights is not None
    assert order.weights.tolist() == [1.0] * 8
    assert np.allclose(raw.mixture.coefficients.sum(axis=1), 1)


def test_two_occurrences_in_a_round_are_drawn_apart(data: Beton) -> None:
    with Loader(data, batch_size=4, augment=compose(["standard"], MEAN, STD), device="cpu") as loader:
        drawn = [raw.views[0].draws[0] for raw in loader.raw_batches(Order(np.full(400, 7)))]
    places = torch.cat([one["top"] * 9 + one["left"] for one in drawn])
    assert len(set(places.tolist())) > 70


def test_the_number_of_threads_and_the_engine_change_nothing(data: Beton, no_thread_left: None) -> None:
    order = random_order(300, len(data))
    runs = []
    for engine in (ResidentEngine(), ResidentEngine(threads=3), FfcvEngine(), FfcvEngine(threads=3)):
        with Loader(data, engine=engine, batch_size=64, augment=mixing(), seed=1, device="cpu") as loader:
            runs.append(list(loader.batches(order)))
    for other in runs[1:]:
        assert len(other) == 5
        assert all(same(one, two) for one, two in zip(runs[0], other, strict=True))


@pytest.mark.parametrize("engine", [ResidentEngine(), FfcvEngine()])
def test_resumes_at_every_batch(data: Beton, engine: ResidentEngine | FfcvEngine) -> None:
    order = random_order(100, len(data), 2)
    with Loader(data, engine=engine, batch_size=16, augment=mixing(), device="cpu") as loader:
        whole = list(loader.batches(order))
        for start in range(8):
            rest = list(loader.batches(order, start=start))
            assert len(rest) == 7 - start
            assert all(same(one, two) for one, two in zip(whole[start:], rest, strict=True))


def test_another_seed_or_round_draws_anew(data: Beton) -> None:
    def tops(seed: int, round_: int) -> list[int]:
        augment = compose(["standard"], MEAN, STD)
        with Loader(data, batch_size=64, augment=augment, seed=seed, device="cpu") as loader:
            (view,) = next(loader.raw_batches(Order(np.arange(64), round_))).views
            return view.draws[0]["top"].tolist()

    assert tops(0, 0) == tops(0, 0)
    assert tops(0, 0) != tops(1, 0)
    assert tops(0, 0) != tops(0, 1)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 60))
def test_ranks_share_out_every_batch(world: int, local: int, count: int) -> None:
    """Checked on the slices alone, so that many sizes can be."""
    parts = []
    for rank in range(world):
        assembly = object.__new__(Assembly)
        assembly._batch_size, assembly._rank, assembly._world_size = world * local, rank, world
        steps = -(-count // (world * local))
        parts.append([assembly._part(step, count) for step in range(steps)])
    flat = [
        index for step in zip(*parts, strict=True) for part in step for index in range(part.start, part.stop)
    ]
    assert flat == list(range(count))
    for step in zip(*parts, strict=True):
        sizes = [part.stop - part.start for part in step]
        assert max(sizes) - min(sizes) <= 1


def test_ranks_give_the_parts_of_the_global_batch(data: Beton) -> None:
    order, augment = random_order(70, len(data)), compose(["standard"], MEAN, STD)
    with Loader(data, batch_size=32, augment=augment, device="cpu") as alone:
        whole = [batch.images for batch in alone.batches(order)]
    parts: list[list[Tensor]] = []
    for rank in range(4):
        with Loader(data, batch_size=32, augment=augment, device="cpu", rank=rank, world_size=4) as loader:
            parts.append([batch.images for batch in loader.batches(order)])
    for step, images in enumerate(whole):
        assert torch.equal(torch.cat([part[step] for part in parts]), images)
