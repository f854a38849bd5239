"""Contract suite of samplers' orders, over the whole table."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sampler_runs import run, sampler_of, small_plan

from samplers import SAMPLERS, Sampler, SamplingError
from samplers.families.rounds import RoundSampler
from samplers.protocol import has_whole_epochs

pytestmark = pytest.mark.filterwarnings("ignore::samplers.errors.SamplingWarning")


def test_a_part_is_a_frozen_dataclass_that_explains_its_options(name: str) -> None:
    part = SAMPLERS[name]
    assert dataclasses.is_dataclass(part)
    assert len(part.__doc__.splitlines()[0]) < 110
    with pytest.raises(dataclasses.FrozenInstanceError):
        part().anything = 1
    tree = ast.parse(inspect.getsource(part)).body[0]
    own = [node.target.id for node in tree.body if isinstance(node, ast.AnnAssign)]
    explained = [
        node.target.id
        for node, after in itertools.pairwise(tree.body)
        if isinstance(node, ast.AnnAssign)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    ]
    options = {field.name for field in dataclasses.fields(part)}
    assert set(explained) == options & set(own)


def test_it_has_the_four_methods(build: Callable[..., RoundSampler]) -> None:
    assert isinstance(build(), Sampler)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("coefficient", [False, True], ids=["plain", "mixed"])
def test_orders_keep_the_budget_exactly(
    build: Callable[..., RoundSampler], seed: int, coefficient: bool
) -> None:
    plan = small_plan()
    for budget, epochs, batch in ((0.4, 12, 8), (0.1, 9, 7), (1.0, 3, 60), (0.33, 7.5, 1)):
        sampler = build(seed=seed, budget=budget, epochs=epochs, batch_size=batch)
        plan = sampler.plan
        orders = run(sampler, coefficient=coefficient)
        assert [order.round for order in orders] == list(range(sampler.rounds))
        for order in orders:
            assert order.ids.dtype == np.int64
            assert len(order.ids) % batch == 0
            assert ((order.ids >= 0) & (order.ids < 60)).all()
            if order.weights is not None:
                assert order.weights.dtype == np.float32
                assert order.weights.shape == order.ids.shape
                assert (order.weights > 0).all()
            if order.score_ids is not None:
                assert order.score_ids.dtype == np.int64
                assert not np.isin(order.score_ids, order.ids[len(order.ids) // 2 :]).all()
            assert order.lr_scale >= 1
        assert sum(len(order.ids) for order in orders) == plan.steps * batch
        with pytest.raises(SamplingError, match="at most"):
            sampler.next_order()


@given(
    samples=st.integers(1, 70),
    epochs=st.floats(0.5, 9),
    budget=st.floats(0.05, 1),
    batch=st.integers(1, 9),
    length=st.sampled_from([1.0, 0.5, 0.13]),
    which=st.sampled_from(sorted(SAMPLERS)),
)
@settings(deadline=None, max_examples=150)
def test_orders_keep_any_budget_exactly(
    samples: int, epochs: float, budget: float, batch: int, length: float, which: str
) -> None:
    batch = min(batch, samples, max(1, round(samples * epochs * budget)))
    assume(round(samples * epochs * budget) >= 1)
    plan = small_plan(samples, epochs=epochs, budget=budget, batch_size=batch, round_length=length)
    orders = run(sampler_of(which, plan))
    assert sum(len(order.ids) for order in orders) == plan.steps * batch
    assert min(len(order.ids) for order in orders) >= batch


def test_a_round_holds_a_batch_at_least_and_who_builds_it_is_told(name: str) -> None:
    # N * B = 12 samples a round, in batches of 50; and rounds of a thousandth of an epoch.
    few: dict[str, Any] = {"epochs": 40, "budget": 0.2}
    for options, rounds in ((few, 9), ({"epochs": 2, "budget": 1.0, "round_length": 0.001}, 2)):
        plan = small_plan(batch_size=50, **options)
        assert plan.rounds == rounds
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            sampler = SAMPLERS[name]().build(plan)
        assert isinstance(sampler, RoundSampler)
        assert [str(warning.message) for warning in told] == list(sampler.notes)
        assert all(warning.filename == __file__ for warning in told)
        said = "a round holds at least one batch of 50 samples"
        assert has_whole_epochs(SAMPLERS[name]) or said in sampler.notes[0]
        orders = run(sampler)
        assert [len(order.ids) >= 50 for order in orders] == [True] * sampler.rounds


def test_a_remainder_heads_the_next_order(build: Callable[..., RoundSampler]) -> None:
    whole, cut = build(batch_size=1), build(batch_size=7)
    ids = np.concatenate([order.ids for order in run(whole, 1)])
    first = cut.next_order()
    np.testing.assert_array_equal(first.ids, ids[: len(ids) // 7 * 7])
    second = cut.next_order()
    np.testing.assert_array_equal(second.ids[: len(ids) % 7], ids[len(ids) // 7 * 7 :])


def test_seeds_give_different_orders(build: Callable[..., RoundSampler]) -> None:
    one, other = (np.concatenate([o.ids for o in run(build(seed=seed))]) for seed in (1, 2))
    assert (one != other).mean() > 0.5


def test_the_global_random_state_is_left_alone(build: Callable[..., RoundSampler]) -> None:
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    run(build())
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # type: ignore[index]  # noqa: NPY002


def test_nothing_heard_is_no_reason_to_fail(build: Callable[..., RoundSampler]) -> None:
    sampler = build()
    total = sum(len(sampler.next_order().ids) for _ in range(sampler.rounds))
    assert total == sampler.plan.steps * 8


def test_importing_samplers_imports_no_torch() -> None:
    script = "import sys, samplers; sys.exit(any(m.split('.')[0] == 'torch' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_all_are_round_samplers(build: Callable[..., RoundSampler]) -> None:
    assert isinstance(build(), RoundSampler)
