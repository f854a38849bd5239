"""States of every sampler: restored at any point, pickled, in another process."""

from __future__ import annotations

import copy
import dataclasses
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sampler_runs import assert_same, built, run, train

from samplers import Order, SamplingError
from samplers.families.rounds import RoundSampler

pytestmark = pytest.mark.filterwarnings("ignore::samplers.errors.SamplingWarning")


def run_in_child(name: str, queue: Any) -> None:
    queue.put(run(built(name)))


def _halves(order: Order) -> Any:
    first = dataclasses.replace(order, ids=order.ids[:8], score_ids=None)
    return first, dataclasses.replace(order, ids=order.ids[8:])


def _play(sampler: RoundSampler, events: Any, orders: list[Order], pace: float | None) -> None:
    """Go through events: the number of an order to ask for, or part of an order to train on."""
    for event in events:
        if isinstance(event, int):
            orders.append(sampler.next_order())
        else:
            train(sampler, event, pace=pace)


@pytest.mark.parametrize("pace", [None, 1.5])
def test_a_sampler_restored_at_any_point_goes_on_the_same(
    build: Callable[..., RoundSampler], pace: float | None
) -> None:
    sampler = build()
    events, states, orders = [], [], []
    for number in range(sampler.rounds):
        events.append(number)
        states.append(sampler.state_dict())
        orders.append(sampler.next_order())
        for half in _halves(orders[-1]):
            events.append(half)
            states.append(sampler.state_dict())
            train(sampler, half, pace=pace)
    for place, state in enumerate(states):
        other, remaining = build(), []  # type: ignore[var-annotated]
        other.load_state_dict(state)
        _play(other, events[place:], remaining, pace)
        assert_same(remaining, orders[len(orders) - len(remaining) :])
        assert len(remaining) == sum(isinstance(event, int) for event in events[place:])


def test_a_state_is_a_snapshot_of_plain_values(build: Callable[..., RoundSampler]) -> None:
    sampler = build()
    for _ in range(2):
        train(sampler, sampler.next_order(), pace=1.5)
    state = sampler.state_dict()
    kept = copy.deepcopy(state)
    run(sampler)
    for key, value in state.items():
        assert isinstance(value, (int, float, str, np.ndarray))
        np.testing.assert_array_equal(value, kept[key])
        if isinstance(value, np.ndarray):
            assert value.dtype != object


@pytest.mark.parametrize("change", [{"seed": 6}, {"budget": 0.5}, {"samples": 61}, {"batch_size": 4}])
def test_a_state_of_another_plan_is_refused(build: Callable[..., RoundSampler], change: Any) -> None:
    with pytest.raises(SamplingError, match="must have this sampler's plan"):
        build(**change).load_state_dict(build().state_dict())


def test_a_pickled_sampler_goes_on_the_same(build: Callable[..., RoundSampler]) -> None:
    sampler = build()
    run(sampler, 3)
    other = pickle.loads(pickle.dumps(sampler))
    assert_same(run(other), run(sampler))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_another_process_gives_the_same_orders(name: str, build: Callable[..., RoundSampler]) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=run_in_child, args=(name, queue))
    child.start()
    theirs = queue.get(timeout=600)
    child.join()
    assert_same(theirs, run(build()))


def test_every_sampler_runs_without_compilation_and_gives_the_same() -> None:
    script = (
        "import sys, pickle, numpy as np; sys.path[:0] = sys.argv[1:3]\n"
        "import sampler_runs as t\n"
        "import warnings\n"
        "from samplers import SAMPLERS, SamplingWarning\n"
        "warnings.simplefilter('ignore', SamplingWarning)\n"
        "orders = {name: t.run(SAMPLERS[name]().build(t.small_plan(24, epochs=6))) for name in SAMPLERS}\n"
        "sys.stdout.buffer.write(pickle.dumps(orders))\n"
    )
    tests = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tests / "parts"), str(tests.parent)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr.decode()
    for name, theirs in pickle.loads(done.stdout).items():
        assert_same(theirs, run(built(name, 24, epochs=6)))
