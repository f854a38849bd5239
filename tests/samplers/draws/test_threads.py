"""Threads that draws use: as many as the process was told, in a sampler's own process too."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from samplers import Plan
from samplers.draws import threads
from samplers.draws.counter import make_key
from samplers.draws.draw import without_replacement
from samplers.service import Service

MODULE = """
from samplers.draws import threads
from samplers import Order
import numpy as np

class Tells:
    rounds = 2

    def next_order(self):
        return Order(0, np.arange(4))
    def observe(self, feedback):
        pass
    def state_dict(self):
        return {"threads": threads.in_use()}
    def load_state_dict(self, state):
        pass
"""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = threads.in_use()
    yield
    threads.use_threads(before)


@pytest.mark.parametrize("count", [1, 3])
def test_draws_use_the_threads_they_are_told(count: int) -> None:
    threads.use_threads(2)
    threads.use_threads(count)
    weights = np.random.default_rng(0).random(8 * threads.SPAN, dtype=np.float32)
    assert len(threads.spans(len(weights))) == count
    without_replacement(weights, 1000, make_key(0, "threads"))
    assert threads.in_use() == count


def test_no_more_threads_than_memory_has_use_for() -> None:
    threads.use_threads(1 << 20)
    assert threads.in_use() == 32
    threads.use_threads(0)
    assert threads.in_use() == 1


def test_a_samplers_process_uses_as_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tells_threads.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    sampler = importlib.import_module("tells_threads").Tells()
    threads.use_threads(5)
    plan = Plan(8, epochs=1, batch_size=4)
    with Service(sampler, plan, mode="process", lead=0) as service:
        service.next_order()
        state = service.state_dict()
    assert [value for name, value in state.items() if name.endswith("threads")] == [5]
