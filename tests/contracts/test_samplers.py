"""What every sampler promises, over the whole table."""

from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
import itertools
import multiprocessing
import os
import pickle
import subprocess
import sys
import warnings
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from samplers import SAMPLERS, Feedback, Order, Plan, Sampler, SamplingError
from samplers.families.rounds import RoundSampler
from samplers.families.weighted import WeightedSampler

pytestmark = pytest.mark.filterwarnings("ignore::samplers.errors.SamplingWarning")

MAY_STARVE = {"subset", "sample_importance", "class_importance", "dihcl", "kakurenbo", "mcl"}
"""Samplers that can leave a sample out for good: by their definition, or where its importance reaches 0."""


def _plan(samples=60, **options):
    fields = {"epochs": 12, "budget": 0.4, "batch_size": 8, "seed": 5}
    return Plan(samples, **{**fields, **options}, labels=np.arange(samples) * 7 % 4)


def _train(sampler, order, step=0, coefficient=False, pace=None):
    """Feed back what training on an order would: batch by batch, some samples always harder than others.

    With ``pace`` the run ends so many times earlier than the plan.
    """
    progress = None if pace is None else min(1.0, pace * (order.round + 1) / sampler.rounds)
    for at in range(0, len(order.ids), 8):
        ids = order.ids[at : at + 8]
        noise = np.random.default_rng([order.round, at]).random(len(ids))
        p_true = (0.05 + 0.9 * ((ids * 37 % 101) / 101) * (0.5 + noise / 2)).astype(np.float32)
        coefficients = (0.5 + noise / 2).astype(np.float32) if coefficient else None
        step += 1
        trained = np.ones(len(ids), bool)
        sampler.observe(
            Feedback(step, ids, -np.log(p_true), p_true, trained, coefficients, progress=progress)
        )
    if order.score_ids is not None:
        ids = order.score_ids
        p_true = np.full(len(ids), 0.8, np.float32)
        sampler.observe(Feedback(step, ids, -np.log(p_true), p_true, np.zeros(len(ids), bool)))
    return step


def _run(sampler, rounds=None, coefficient=False):
    orders, step = [], 0
    for _ in range(sampler.rounds - sampler.round if rounds is None else rounds):
        orders.append(sampler.next_order())
        step = _train(sampler, orders[-1], step, coefficient)
    return orders


def _assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        for field in dataclasses.fields(Order):
            a, b = getattr(one, field.name), getattr(other, field.name)
            assert (a is None) == (b is None)
            np.testing.assert_array_equal(a, b)


def _run_in_child(name, queue):
    queue.put(_run(SAMPLERS[name]().build(_plan())))


@pytest.fixture(params=SAMPLERS, ids=str)
def name(request):
    return request.param


@pytest.fixture
def build(name):
    return lambda **options: SAMPLERS[name]().build(_plan(**options))


def test_a_part_is_a_frozen_dataclass_that_explains_its_options(name):
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


def test_it_has_the_four_methods(build):
    assert isinstance(build(), Sampler)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("coefficient", [False, True], ids=["plain", "mixed"])
def test_orders_keep_the_budget_exactly(build, seed, coefficient):
    plan = _plan()
    for budget, epochs, batch in ((0.4, 12, 8), (0.1, 9, 7), (1.0, 3, 60), (0.33, 7.5, 1)):
        sampler = build(seed=seed, budget=budget, epochs=epochs, batch_size=batch)
        plan = sampler.plan
        orders = _run(sampler, coefficient=coefficient)
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
def test_orders_keep_any_budget_exactly(samples, epochs, budget, batch, length, which):
    batch = min(batch, samples, max(1, round(samples * epochs * budget)))
    assume(round(samples * epochs * budget) >= 1)
    plan = _plan(samples, epochs=epochs, budget=budget, batch_size=batch, round_length=length)
    sampler = SAMPLERS[which]().build(plan)
    orders = _run(sampler)
    assert sum(len(order.ids) for order in orders) == plan.steps * batch
    assert min(len(order.ids) for order in orders) >= batch


def test_a_round_holds_a_batch_at_least_and_who_builds_it_is_told(name):
    # N * B = 12 samples a round, in batches of 50; and rounds of a thousandth of an epoch.
    for options, rounds in (({"epochs": 40, "budget": 0.2}, 9), ({"epochs": 2, "round_length": 0.001}, 2)):
        plan = _plan(**{"batch_size": 50, "budget": 1.0, **options})
        assert plan.rounds == rounds
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            sampler = SAMPLERS[name]().build(plan)
        assert [str(warning.message) for warning in told] == list(sampler.notes)
        assert all(warning.filename == __file__ for warning in told)
        assert name == "scan" or "a round holds at least one batch of 50 samples" in sampler.notes[0]
        orders = _run(sampler)
        assert [len(order.ids) >= 50 for order in orders] == [True] * sampler.rounds


def test_a_remainder_heads_the_next_order(build):
    whole, cut = build(batch_size=1), build(batch_size=7)
    ids = np.concatenate([order.ids for order in _run(whole, 1)])
    first = cut.next_order()
    np.testing.assert_array_equal(first.ids, ids[: len(ids) // 7 * 7])
    second = cut.next_order()
    np.testing.assert_array_equal(second.ids[: len(ids) % 7], ids[len(ids) // 7 * 7 :])


def _halves(order):
    first = dataclasses.replace(order, ids=order.ids[:8], score_ids=None)
    return first, dataclasses.replace(order, ids=order.ids[8:])


def _play(sampler, events, orders, pace):
    """Go through events: the number of an order to ask for, or part of an order to train on."""
    for event in events:
        if isinstance(event, int):
            orders.append(sampler.next_order())
        else:
            _train(sampler, event, pace=pace)


@pytest.mark.parametrize("pace", [None, 1.5])
def test_a_sampler_restored_at_any_point_goes_on_the_same(build, pace):
    sampler = build()
    events, states, orders = [], [], []
    for number in range(sampler.rounds):
        events.append(number)
        states.append(sampler.state_dict())
        orders.append(sampler.next_order())
        for half in _halves(orders[-1]):
            events.append(half)
            states.append(sampler.state_dict())
            _train(sampler, half, pace=pace)
    for place, state in enumerate(states):
        other, remaining = build(), []
        other.load_state_dict(state)
        _play(other, events[place:], remaining, pace)
        _assert_same(remaining, orders[len(orders) - len(remaining) :])
        assert len(remaining) == sum(isinstance(event, int) for event in events[place:])


def test_a_state_is_a_snapshot_of_plain_values(build):
    sampler = build()
    for _ in range(2):
        _train(sampler, sampler.next_order(), pace=1.5)
    state = sampler.state_dict()
    kept = copy.deepcopy(state)
    _run(sampler)
    for key, value in state.items():
        assert isinstance(value, (int, float, str, np.ndarray))
        np.testing.assert_array_equal(value, kept[key])
        if isinstance(value, np.ndarray):
            assert value.dtype != object


@pytest.mark.parametrize("change", [{"seed": 6}, {"budget": 0.5}, {"samples": 61}, {"batch_size": 4}])
def test_a_state_of_another_plan_is_refused(build, change):
    with pytest.raises(SamplingError, match="must have this sampler's plan"):
        build(**change).load_state_dict(build().state_dict())


def test_a_pickled_sampler_goes_on_the_same(build):
    sampler = build()
    _run(sampler, 3)
    other = pickle.loads(pickle.dumps(sampler))
    _assert_same(_run(other), _run(sampler))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_another_process_gives_the_same_orders(name, build):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_run_in_child, args=(name, queue))
    child.start()
    theirs = queue.get(timeout=600)
    child.join()
    _assert_same(theirs, _run(build()))


def test_seeds_give_different_orders(build):
    one, other = (np.concatenate([o.ids for o in _run(build(seed=seed))]) for seed in (1, 2))
    assert (one != other).mean() > 0.5


def test_the_global_random_state_is_left_alone(build):
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    _run(build())
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_how_feedback_is_cut_into_calls_changes_nothing(build):
    whole, cut = build(), build()
    for _ in range(min(6, whole.rounds)):
        order = whole.next_order()
        _assert_same([order], [cut.next_order()])
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


def test_feedback_is_copied(build):
    sampler, other = build(), build()
    for _ in range(4):
        order = sampler.next_order()
        _assert_same([order], [other.next_order()])
        ids, p_true = order.ids.copy(), np.full(len(order.ids), 0.5, np.float32)
        p_true[::2] = 0.9
        loss, trained = -np.log(p_true), np.ones(len(ids), bool)
        other.observe(Feedback(1, ids.copy(), loss.copy(), p_true.copy(), trained))
        sampler.observe(Feedback(1, ids, loss, p_true, trained))
        for used in (ids, p_true, loss):
            used[...] = 0


def test_rows_of_share_0_say_nothing(build):
    sampler, other = build(), build()
    for _ in range(5):
        order = sampler.next_order()
        _assert_same([order], [other.next_order()])
        _train(sampler, order)
        _train(other, order)
        ids = np.arange(60)
        bad = np.full(60, np.nan, np.float32)
        sampler.observe(Feedback(9, ids, bad, bad, np.ones(60, bool), np.zeros(60, np.float32)))


def test_feedback_that_cannot_be_is_refused(build, name):
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


def _moved(template, other):
    """Bring a sampler of another seed to the template's state, any pass under way dropped."""
    state = {**template.state_dict(), "plan": other.state_dict()["plan"]}
    for key in ("memory.pending.ids", "memory.pending.weights"):
        if key in state:
            state[key] = state[key][:0]
    if "memory.ids" in state:
        state["memory.ids"] = other.state_dict()["memory.ids"]
    if "memory.group" in state:
        state["memory.group"] = other.state_dict()["memory.group"]
    other.load_state_dict(state)


def _deviation(observed, expected):
    """Standard normal score of a chi-square statistic (Wilson & Hilferty)."""
    possible = expected > 0
    assert not observed[~possible].any()
    free = possible.sum() - 1
    if free == 0:
        return 0.0  # a certain outcome, which came true
    ratio = ((observed - expected)[possible] ** 2 / expected[possible]).sum() / free
    return (ratio ** (1 / 3) - (1 - 2 / (9 * free))) / np.sqrt(2 / (9 * free))


def test_the_first_id_drawn_is_distributed_as_declared(build):
    # Rounds of one sample: the id drawn is the first, whose distribution ``probabilities`` declares.
    options = {"samples": 12, "epochs": 6, "budget": 1.0, "batch_size": 1, "round_length": 1 / 12}
    template = build(**options)
    _run(template, min(template.rounds - 3, 60))
    counts, expected = np.zeros(12), np.zeros(12)
    for seed in range(1500):
        sampler = build(**options, seed=seed)
        _moved(template, sampler)
        chances = sampler.probabilities()
        assert chances.sum() == pytest.approx(1)
        expected += chances
        counts[sampler.next_order().ids[0]] += 1
    assert _deviation(counts, expected) < 4.75


@pytest.mark.parametrize("which", [name for name in SAMPLERS if hasattr(SAMPLERS[name], "importance")])
def test_a_round_is_drawn_by_its_importance(which):
    part = SAMPLERS[which]()
    options = {"samples": 6, "epochs": 20, "budget": 0.5, "batch_size": 3}
    template = part.build(_plan(**options))
    assert isinstance(template, WeightedSampler)
    _run(template, 16)
    chances = template.probabilities()
    inclusion = np.zeros(6)
    for sequence in permutations(range(6), 3):
        left, chance = chances.copy(), 1.0
        for i in sequence:
            if left.sum() < 1e-12:  # none of a positive weight is left: any of the others
                left = np.isin(np.arange(6), sequence[: sequence.index(i)], invert=True).astype(float)
            chance *= left[i] / left.sum()
            left[i] = 0
        inclusion[list(sequence)] += chance
    counts = np.zeros(6)
    for seed in range(2000):
        sampler = part.build(_plan(**options, seed=seed))
        _moved(template, sampler)
        np.add.at(counts, sampler.next_order().ids, 1)
    expected = 2000 * (3 * chances if template.replacement else inclusion)
    spread = np.sqrt(np.maximum(expected * (1 - expected / 6000), 1))
    assert (np.abs(counts - expected) < 4.9 * spread).all()


@pytest.mark.parametrize("which", sorted(set(SAMPLERS) - MAY_STARVE))
def test_no_sample_starves_where_the_method_promises_so(which):
    sampler = SAMPLERS[which]().build(_plan(40, epochs=30, budget=0.5, batch_size=4))
    lowest = []
    while sampler.round < sampler.rounds:
        lowest.append(sampler.probabilities())
        order = sampler.next_order()
        p_true = np.where(order.ids == 0, 1, 0.3).astype(np.float32)  # sample 0 is always right
        sampler.observe(Feedback(1, order.ids, -np.log(p_true), p_true, np.ones(len(p_true), bool)))
    assert np.array(lowest)[-12:, 0].max() > 0


def test_nothing_heard_is_no_reason_to_fail(build):
    sampler = build()
    total = sum(len(sampler.next_order().ids) for _ in range(sampler.rounds))
    assert total == sampler.plan.steps * 8


def test_every_sampler_runs_without_compilation_and_gives_the_same():
    script = (
        "import sys, pickle, numpy as np; sys.path[:0] = sys.argv[1:3]\n"
        "import test_samplers as t\n"
        "import warnings\n"
        "from samplers import SAMPLERS, SamplingWarning\n"
        "warnings.simplefilter('ignore', SamplingWarning)\n"
        "orders = {name: t._run(SAMPLERS[name]().build(t._plan(24, epochs=6))) for name in SAMPLERS}\n"
        "sys.stdout.buffer.write(pickle.dumps(orders))\n"
    )
    here = Path(__file__).parent
    root = here.parent.parent
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(here), str(root)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr.decode()
    for name, theirs in pickle.loads(done.stdout).items():
        _assert_same(theirs, _run(SAMPLERS[name]().build(_plan(24, epochs=6))))


def test_importing_samplers_imports_no_torch():
    script = "import sys, samplers; sys.exit(any(m.split('.')[0] == 'torch' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_all_are_round_samplers(build):
    assert isinstance(build(), RoundSampler)
