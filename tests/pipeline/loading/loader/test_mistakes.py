"""Orders and options that can't work, and loaders that were closed."""

from __future__ import annotations

import numpy as np
import pytest
from loader_orders import Order, mixing

from pipeline import DataError, Loader
from pipeline.engines.ffcv import FfcvEngine
from pipeline.engines.resident import ResidentEngine
from pipeline.formats import Beton


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"batch_size": 10, "world_size": 4}, "positive multiple of the 4 ranks; got 10"),
        ({"batch_size": 0}, "positive multiple of the 1 ranks; got 0"),
        (
            {"rank": 2, "world_size": 2, "batch_size": 8},
            r"rank must be in \[0, world_size\); got rank 2 of 2",
        ),
        ({"prefetch": 0}, "prefetch must be at least 1 batch; got 0"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_options_that_cannot_work_are_refused(data: Beton, options: dict[str, int], line: str) -> None:
    with pytest.raises(DataError, match=line):
        Loader(data, device="cpu", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("order", "start", "line"),
    [
        (Order(np.array([0, 5000])), 0, "one of the 1,280 samples of .*train.beton.* got 5,000"),
        (Order(np.array([-1])), 0, "got -1"),
        (Order(np.array([0.5])), 0, "whole numbers in one dimension; got float64"),
        (Order(np.zeros((2, 2), np.int64)), 0, r"got int64 of shape \(2, 2\)"),
        (Order(np.arange(4), weights=np.ones(3, np.float32)), 0, r"match its 4 ids; got shape \(3,\)"),
        (Order(np.arange(4)), 3, r"start must be in \[0, 2\], the batches of this order; got 3"),
        (Order(np.arange(4)), -1, "got -1"),
    ],
)
def test_orders_that_cannot_work_are_refused_at_once(
    data: Beton, order: Order, start: int, line: str
) -> None:
    with Loader(data, batch_size=2, device="cpu") as loader, pytest.raises(DataError, match=line):
        loader.batches(order, start=start)


def test_an_empty_order_and_the_end_of_one_give_nothing(data: Beton) -> None:
    with Loader(data, batch_size=2, device="cpu", augment=mixing()) as loader:
        assert list(loader.batches(Order(np.array([], dtype=np.int64)))) == []
        assert list(loader.batches(Order(np.arange(4)), start=2)) == []


@pytest.mark.parametrize("engine", [ResidentEngine(), FfcvEngine()])
def test_a_closed_loader_says_so(
    data: Beton, engine: ResidentEngine | FfcvEngine, no_thread_left: None
) -> None:
    loader = Loader(data, engine=engine, batch_size=2, device="cpu")
    loader.close()
    loader.close()
    with pytest.raises(DataError, match="a loader must be open to give batches; this one was closed"):
        loader.batches(Order(np.arange(4)))


@pytest.mark.parametrize("stored", ["data", "jpegs"])
def test_closing_a_loader_in_use_ends_its_iterations(
    stored: str, request: pytest.FixtureRequest, no_thread_left: None
) -> None:
    loader = Loader(request.getfixturevalue(stored), engine=FfcvEngine(), batch_size=2, device="cpu")
    iterator = loader.batches(Order(np.arange(1000)))
    next(iterator)
    loader.close()
    with pytest.raises(DataError, match="must stay open while its batches are used"):
        next(iterator)
