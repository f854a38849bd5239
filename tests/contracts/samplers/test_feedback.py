"""Contract suite of samplers' feedback, in any chunks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sampler_runs import assert_same, train

from samplers import Feedback, SamplingError
from samplers.families.rounds import RoundSampler

pytestmark = pytest.mark.filterwarnings("ignore::samplers.errors.SamplingWarning")


def test_how_feedback_is_cut_into_calls_changes_nothing(build: Callable[..., RoundSampler]) -> None:
    whole, cut = build(), build()
    for _ in range(min(6, whole.rounds)):
        order = whole.next_order()
        assert_same([order], [cut.next_order()])
        ids = order.ids
        p_true = np.random.default_rng(order.round).uniform(0.1, 0.9, len(ids)).astype(np.float32)
        rows = Feedback(order.round, ids, -np.log(p_true), p_true, np.ones(len(ids), bool), p_true)
        whole.observe(rows)
        for at in range(0, len(ids), 3):
            part = slice(at, at + 3)
            cut.observe(
                Feedback(
                    order.round, ids[part], rows.loss[part], p_true[part], rows.trained[part], p_true[part]
                )
            )


def test_feedback_is_copied(build: Callable[..., RoundSampler]) -> None:
    sampler, other = build(), build()
    for _ in range(4):
        order = sampler.next_order()
        assert_same([order], [other.next_order()])
        ids, p_true = order.ids.copy(), np.full(len(order.ids), 0.5, np.float32)
        p_true[::2] = 0.9
        loss, trained = -np.log(p_true), np.ones(len(ids), bool)
        other.observe(Feedback(1, ids.copy(), loss.copy(), p_true.copy(), trained))
        sampler.observe(Feedback(1, ids, loss, p_true, trained))
        for used in (ids, p_true, loss):
            used[...] = 0


def test_rows_of_share_0_say_nothing(build: Callable[..., RoundSampler]) -> None:
    sampler, other = build(), build()
    for _ in range(5):
        order = sampler.next_order()
        assert_same([order], [other.next_order()])
        train(sampler, order)
        train(other, order)
        ids = np.arange(60)
        bad = np.full(60, np.nan, np.float32)
        sampler.observe(Feedback(9, ids, bad, bad, np.ones(60, bool), np.zeros(60, np.float32)))


def test_feedback_that_cannot_be_is_refused(build: Callable[..., RoundSampler], name: str) -> None:
    sampler = build()
    if not sampler.needs:
        return
    ones = np.ones(2, np.float32)
    for ids, wrong in (([0, 60], 60), ([-1, 3], -1)):
        with pytest.raises(SamplingError, match=f"got {wrong}"):
            sampler.observe(Feedback(1, np.array(ids), ones, ones, np.ones(2, bool)))
    for progress in (-0.1, 1.1, np.nan):
        with pytest.raises(SamplingError, match=f"progress must be from 0 to 1, or None; got {progress}"):
            sampler.observe(Feedback(1, np.array([3, 4]), ones, ones, np.ones(2, bool), progress=progress))
    bad = np.array([1, np.nan], np.float32)
    sampler.observe(Feedback(1, np.array([3, 4]), bad, bad, np.ones(2, bool)))
    with pytest.raises(SamplingError, match="got nan for sample 4"):
        sampler.next_order()
    if "p_true" in sampler.needs:
        with pytest.raises(SamplingError, match="needs p_true"):
            build().observe(Feedback(1, np.array([3, 4]), ones, None, np.ones(2, bool)))
