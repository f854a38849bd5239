"""Batches on their own stream: what arrives is what was read, while the device lags behind the host."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline import ENGINES, Augmentation, Loader, compose, open_dataset
from pipeline.augment.random_resized_crop import RandomResizedCrop
from pipeline.formats import Converted
from pipeline.resolution import Stage
from samplers import Order

_LAG = 2_000_000
"""Cycles of the device's clock, about a millisecond: host and loader run ahead of the reader."""

_ROUNDS = 40
"""More than torch's 32 streams per device, so that memory kept per stream shows."""


@pytest.fixture(params=["resident", "ffcv"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "ffcv":
        pytest.importorskip("ffcv")
    name: str = request.param
    return name


@pytest.fixture
def data(fashion: Path) -> Converted:
    return open_dataset(fashion / "fashion_mnist" / "train.beton")


def _own_sums(data: Converted) -> NDArray[np.int64]:
    return np.array([int(data.image(index).sum()) for index in range(len(data))])


def _sums(loader: Loader, ids: NDArray[np.int64], round_: int = 0) -> NDArray[np.int64]:
    """Sum each image of an order on a device that lags; each batch is dropped at once."""
    made = []
    for batch in loader.batches(Order(round=round_, ids=ids)):
        _lag(loader.device)
        made.append(batch.images.flatten(1).sum(1, dtype=torch.int64))
        del batch
    return torch.cat(made).cpu().numpy()


def _lag(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda._sleep(_LAG)


def _reserved(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    torch.cuda.synchronize(device)
    return torch.cuda.memory_reserved(device)


@pytest.mark.parametrize("prefetch", [1, 3])
def test_batches_that_are_dropped_at_once_hold_their_images(
    device: torch.device, engine: str, prefetch: int, data: Converted
) -> None:
    own, ids = _own_sums(data), np.random.default_rng(1).permutation(len(data))
    with Loader(data, engine=ENGINES[engine](), batch_size=64, device=device, prefetch=prefetch) as loader:
        assert (_sums(loader, ids) == own[ids]).all()


def test_an_iterator_that_is_left_early_harms_no_later_batch(
    device: torch.device, engine: str, data: Converted
) -> None:
    own, ids = _own_sums(data), np.arange(256)
    with Loader(data, engine=ENGINES[engine](), batch_size=32, device=device) as loader:
        for round_ in range(4):
            left: Iterator[object] = iter(loader.batches(Order(round=round_, ids=ids)))
            for _ in itertools.islice(left, 2):
                _lag(device)
            del left
            assert (_sums(loader, ids, round_) == own[ids]).all()


def test_a_batch_is_read_again_beside_the_thread_that_reads_ahead(
    device: torch.device, engine: str, data: Converted
) -> None:
    augment = Augmentation([RandomResizedCrop(size=28)], (0.5,) * 3, (0.25,) * 3)
    ids, some = np.arange(256), np.array([3, 1, 30])
    with Loader(data, engine=ENGINES[engine](), batch_size=32, augment=augment, device=device) as loader:
        for raw in loader.raw_batches(Order(round=0, ids=ids), stage=Stage(28)):
            _lag(device)
            again = loader.reread(raw, some, Stage(28)).augment()
            whole = raw.augment()
            assert torch.equal(whole.images[torch.from_numpy(some).to(device)], again.images)
            assert (again.targets["label"].cpu().numpy() == data.labels[raw.ids[some]]).all()


def test_views_targets_and_mixtures_are_those_of_the_cpu(
    device: torch.device, engine: str, data: Converted
) -> None:
    """One batch at a time, so that memory is used again."""
    augment = compose(["randaugment", "standard", "ricap"], (0.5,) * 3, (0.25,) * 3)
    order = Order(round=2, ids=np.random.default_rng(3).integers(0, len(data), 300))
    with (
        Loader(data, engine=ENGINES[engine](), batch_size=64, augment=augment, device="cpu") as near,
        Loader(data, engine=ENGINES[engine](), batch_size=64, augment=augment, device=device) as far,
    ):
        for here, there in zip(near.batches(order), far.batches(order), strict=True):
            _lag(device)
            assert there.images.device == there.targets["label"].device == device
            assert (here.images - there.images.cpu()).abs().max() <= 2e-6
            assert torch.equal(here.targets["label"], there.targets["label"].cpu())
            assert here.mixture is not None
            assert there.mixture is not None
            assert torch.equal(here.mixture.device_coefficients, there.mixture.device_coefficients.cpu())


def test_memory_does_not_grow_from_round_to_round(device: torch.device, engine: str, data: Converted) -> None:
    rounds = _ROUNDS if device.type == "cuda" else 4
    with Loader(data, engine=ENGINES[engine](), batch_size=64, device=device) as loader:
        reserved, streams = [], set()
        for round_ in range(rounds):
            _sums(loader, np.arange(256), round_)
            reserved.append(_reserved(device))
            stream = loader._assembly.stream
            streams.add(None if stream is None else stream.cuda_stream)
        # A thread may be further ahead in one round than in another; a stream per round kept 2 MB each.
        assert reserved[-1] <= reserved[2] + (8 << 20)
        assert len(streams) == 1


def test_a_closed_loader_gives_its_images_back(gpu: torch.device, data: Converted) -> None:
    before = torch.cuda.memory_allocated(gpu)
    with Loader(data, engine=ENGINES["resident"](), batch_size=64, device=gpu) as loader:
        _sums(loader, np.arange(64))
        assert torch.cuda.memory_allocated(gpu) - before >= len(data) * 28 * 28 * 3
    assert torch.cuda.memory_allocated(gpu) <= before + (1 << 20)
