from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samplers import MCL, Plan, SamplingError, Scores
from samplers.mcl import choose_groups

ROOT = Path(__file__).parents[2]


def _value(groups: Any, gains: Any, features: Any, diversity: Any) -> Any:
    groups = list(groups)
    return gains[groups].sum() + diversity * np.sqrt(features[groups].sum(axis=0)).sum()


@pytest.mark.parametrize("diversity", [0.0, 0.7, 50.0])
def test_groups_are_chosen_greedily(diversity: float) -> None:
    rng = np.random.default_rng(3)
    gains, features = rng.random(12), rng.random((12, 5)) ** 3
    chosen = np.empty(6, np.int64)
    choose_groups(gains, features, diversity, chosen)
    done: list[int] = []
    for group in chosen:
        values = {g: _value([*done, g], gains, features, diversity) for g in range(12) if g not in done}
        assert values[group] == pytest.approx(max(values.values()), rel=1e-12)  # type: ignore[index]
        done.append(group)  # type: ignore[arg-type]
    best = max(_value(some, gains, features, diversity) for some in combinations(range(12), 6))
    assert _value(chosen, gains, features, diversity) > (1 - 1 / np.e) * best


@pytest.fixture
def plan() -> Plan:
    return Plan(200, epochs=10, budget=0.3, seed=3, labels=np.arange(200) % 4)


def test_few_groups_come_first_and_more_later(plan: Plan) -> None:
    sampler = MCL(groups=20).build(plan)
    sizes = []
    for _ in range(sampler.rounds):
        sizes.append(len(sampler.chosen_groups()))
        sampler.next_order()
    assert sizes == sorted(sizes)
    assert sizes[0] == pytest.approx(0.1 * 20, abs=1)
    assert sizes[-1] == pytest.approx(0.9 * 20, abs=1)


def test_more_groups_come_as_early_as_the_run_is_shorter_than_planned(
    plan: Plan, feed: Callable[..., None]
) -> None:
    told, short = (
        MCL(groups=20).build(Plan(200, epochs, 0.3, seed=3, labels=plan.labels)) for epochs in (10, 5)
    )
    sizes = []
    for number in range(5):
        sizes.append((len(told.chosen_groups()), len(short.chosen_groups())))
        told.next_order()
        short.next_order()
        feed(told, range(200), loss=1.0, progress=(number + 1) / 5)
    assert all(one == other for one, other in sizes)
    assert sizes[-1][0] > sizes[0][0]


def test_diversity_spreads_the_first_choice_over_the_classes_and_loss_decides_without(
    plan: Plan, feed: Callable[..., None]
) -> None:
    loss = np.where(plan.labels == 2, 2.0, 1.0)
    spread = MCL(groups=20, first=0.2, last=0.2, diversity=5).build(plan)
    plain = MCL(groups=20, first=0.2, last=0.2, diversity=0).build(plan)
    for sampler, classes in ((spread, {0, 1, 2, 3}), (plain, {2})):
        feed(sampler, range(200), loss=loss)
        assert set(plan.labels[sampler.next_order().ids]) == classes  # type: ignore[index]


def test_diversity_fades_as_the_run_goes_on(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = MCL(groups=20, first=0.2, last=0.2, diversity=5, decay=0.9).build(plan)
    feed(sampler, range(200), loss=np.where(plan.labels == 2, 2.0, 1.0))
    classes = [set(plan.labels[sampler.next_order().ids]) for _ in range(3)]  # type: ignore[index]
    assert classes[0] == {0, 1, 2, 3}
    assert classes[2] == {2}


def test_a_round_draws_evenly_from_the_chosen_groups(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = MCL(groups=20, first=0.1, last=0.1).build(plan)
    feed(sampler, range(200), loss=1.0)
    chances = sampler.probabilities()
    ids = sampler.next_order().ids
    assert (chances[ids] > 0).all()
    counts = np.bincount(ids, minlength=200)[chances > 0]
    assert counts.max() - counts.min() <= 1


def test_groups_come_from_the_features_of_a_file(tmp_path: Path, plan: Plan) -> None:
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 5, 200)
    features = (np.eye(5)[corner] * 10 + rng.random((200, 5))).astype(np.float32)
    Scores(np.zeros(200, np.float32), "features", features=features).save(tmp_path / "f.npz")
    sampler = MCL(features=tmp_path / "f.npz", groups=20, first=0.05, last=0.05).build(plan)
    assert len(set(corner[sampler.next_order().ids])) == 1


def test_what_it_needs_is_asked_for(tmp_path: Path, plan: Plan) -> None:
    with pytest.raises(SamplingError, match="features, or the plan's labels; got neither"):
        MCL().build(Plan(200))
    Scores(np.zeros(200, np.float32), "el2n").save(tmp_path / "a.npz")
    with pytest.raises(SamplingError, match="needs a scores file with features"):
        MCL(features=tmp_path / "a.npz").build(plan)
    negative = np.full((200, 2), -1, np.float32)
    Scores(np.zeros(200, np.float32), "x", features=negative).save(tmp_path / "b.npz")
    with pytest.raises(SamplingError, match="at least 0, as after a ReLU"):
        MCL(features=tmp_path / "b.npz").build(plan)
    Scores(np.zeros(200, np.float32), "x", features=np.zeros((200, 2), np.float32)).save(tmp_path / "c.npz")
    with pytest.raises(SamplingError, match=r"must not all be 0; those in .*c\.npz are"):
        MCL(features=tmp_path / "c.npz").build(plan)


@pytest.mark.parametrize("diversity", ["nan", "inf"])
def test_the_choice_ends_even_where_nothing_can_be_compared(diversity: str) -> None:
    # In a process of its own, which can be ended if the choice doesn't.
    program = (
        "import numpy as np\n"
        "from samplers.mcl import choose_groups\n"
        "chosen = np.empty(3, np.int64)\n"
        f"choose_groups(np.ones(4), np.zeros((4, 2)), float({diversity!r}), chosen)\n"
        "print(len(set(chosen.tolist())))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=environment, capture_output=True, timeout=60
    )
    assert done.stdout == b"3\n", done.stderr


@pytest.mark.parametrize("kinds", [200, 7])
def test_a_resumed_run_keeps_its_groups_whatever_the_file_holds_by_then(
    tmp_path: Path, plan: Plan, feed: Callable[..., None], kinds: int
) -> None:
    # Seven kinds of features make seven groups where there were twenty.
    part = MCL(features=tmp_path / "f.npz", groups=20, first=0.2)
    rng = np.random.default_rng(0)
    none = np.zeros(200, np.float32)
    Scores(none, "x", features=rng.random((200, 6), np.float32)).save(tmp_path / "f.npz")
    sampler = part.build(plan)
    feed(sampler, range(200), loss=rng.random(200))
    sampler.next_order()
    state = sampler.state_dict()
    other = rng.random((kinds, 3), np.float32)[np.arange(200) % kinds]
    Scores(none, "x", features=other).save(tmp_path / "f.npz")
    resumed = part.build(plan)
    resumed.load_state_dict(state)
    for _ in range(3):
        np.testing.assert_array_equal(resumed.next_order().ids, sampler.next_order().ids)


@pytest.mark.parametrize(
    "options", [{"groups": 0}, {"first": 0.5, "last": 0.4}, {"diversity": -1}, {"decay": 2}]
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SamplingError, match=f"{next(iter(options))}.* must be"):
        MCL(**options)
