from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samplers import Plan, SamplingError, Scores, Subset


@pytest.fixture
def scores(tmp_path: Path) -> Any:
    path = tmp_path / "scores.npz"
    values = np.random.default_rng(0).permutation(50).astype(np.float32)
    Scores(values, "el2n", {"networks": 10, "epoch": 20}).save(path)
    return path, values


def _orders(part: Any, plan: Plan) -> Any:
    sampler = part.build(plan)
    return [sampler.next_order().ids for _ in range(sampler.rounds)]


def test_a_random_subset_of_the_budget_is_trained_on_every_epoch() -> None:
    orders = _orders(Subset(), Plan(50, epochs=7, budget=0.3, seed=2))
    for ids in orders:
        assert sorted(ids) == sorted(orders[0])
        assert len(np.unique(ids)) == 15
    assert (orders[0] != orders[1]).any()


@pytest.mark.parametrize("lowest", [False, True])
def test_the_highest_or_lowest_scores_are_kept(scores: Any, lowest: bool) -> None:
    path, values = scores
    orders = _orders(Subset(path, keep=0.7, lowest=lowest), Plan(50, epochs=7, budget=1.0, seed=2))
    counts = np.bincount(np.concatenate(orders), minlength=50)
    kept = values < 35 if lowest else values >= 15
    assert (counts[~kept] == 0).all()
    assert (counts[kept] == 10).all()  # 350 samples in passes of 35


def test_equal_scores_at_the_edge_are_settled_by_the_seed(tmp_path: Path) -> None:
    Scores(np.zeros(40, np.float32), "none").save(tmp_path / "same.npz")
    kept = [set(_orders(Subset(tmp_path / "same.npz"), Plan(40, budget=0.5, seed=s))[0]) for s in (0, 1)]
    assert kept[0] != kept[1]


def test_a_resumed_run_keeps_its_subset_whatever_becomes_of_the_file(scores: Any) -> None:
    path, _ = scores
    plan = Plan(50, epochs=4, budget=0.5)
    sampler = Subset(path).build(plan)
    first = sampler.next_order()
    state = sampler.state_dict()
    Scores(np.arange(50, dtype=np.float32), "other").save(path)
    other = Subset(path).build(plan)
    other.load_state_dict(state)
    assert sorted(other.next_order().ids) == sorted(first.ids)


@pytest.mark.parametrize("keep", [0, 1.1])
def test_keep_out_of_range_is_refused(keep: float) -> None:
    with pytest.raises(SamplingError, match="keep must be above 0 and at most 1"):
        Subset(keep=keep)
