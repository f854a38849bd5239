"""Feedback and orders of any length go through the service."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from sampler_runs import assert_same
from service_runs import MODES, pid_of, run

from samplers import PSGD, Feedback, Kakurenbo, Plan
from samplers.service import Service
from samplers.service.service import Mode


@pytest.mark.parametrize("mode", MODES)
def test_many_rows_go_through_however_they_are_cut(mode: Mode) -> None:
    # More rows than all blocks of shared memory hold, in one call and in uneven ones.
    plan = Plan(1000, epochs=4, budget=0.3, seed=1)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 1000, 700_000)
    p_true = rng.random(700_000).astype(np.float32)
    coefficient = rng.random(700_000).astype(np.float32)
    rows = Feedback(1, ids, p_true, p_true, np.ones(700_000, bool), coefficient)
    expected = PSGD().build(plan)
    expected.observe(rows)
    with Service(PSGD().build(plan), plan, mode=mode) as service:
        service.observe(rows)
        np.testing.assert_array_equal(service.next_order().ids, expected.next_order().ids)
        for start in range(0, 700_000, 33_333):
            part = slice(start, start + 33_333)
            cut = Feedback(2, ids[part], p_true[part], p_true[part], rows.trained[part])
            service.observe(cut)
            expected.observe(cut)
        np.testing.assert_array_equal(service.next_order().ids, expected.next_order().ids)


def test_many_rows_wait_here_while_the_process_is_busy() -> None:
    plan = Plan(1000, epochs=4, budget=0.3, seed=1)
    expected = PSGD().build(plan)
    rng = np.random.default_rng(0)
    with Service(PSGD().build(plan), plan, mode="process") as service:
        os.kill(pid_of(service), signal.SIGSTOP)
        ids, p_true = np.empty(50_000, np.int64), np.empty(50_000, np.float32)
        for _ in range(14):  # more than all blocks hold; each call writes over the last one's arrays
            ids[:], p_true[:] = rng.integers(0, 1000, 50_000), rng.random(50_000)
            rows = Feedback(1, ids, p_true, p_true, np.ones(50_000, bool))
            service.observe(rows)
            expected.observe(rows)
        os.kill(pid_of(service), signal.SIGCONT)
        np.testing.assert_array_equal(service.next_order().ids, expected.next_order().ids)


def test_feedback_may_be_written_over_after_it_was_given(plan: Plan) -> None:
    orders = []
    for mode in MODES:
        with Service(PSGD().build(plan), plan, mode=mode) as service:
            ids, p_true = np.arange(90), np.linspace(0, 1, 90, dtype=np.float32)
            service.observe(Feedback(1, ids, p_true, p_true, np.ones(90, bool)))
            ids[...], p_true[...] = 0, 0
            orders.append(service.next_order())
    assert_same(orders[1:], [orders[0]] * 2)


def test_an_order_too_long_for_shared_memory_comes_another_way(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("samplers.service.process._MOST_SCORED", 1)
    results = []
    for mode in ("inline", "process"):
        with Service(Kakurenbo().build(plan), plan, mode=mode) as service:
            results.append(run(service))
    assert_same(*results)
    assert max(len(o.score_ids) for o in results[0] if o.score_ids is not None) > 1
