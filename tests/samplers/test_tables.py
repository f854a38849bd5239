from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samplers import SamplingError
from samplers.counter import make_key
from samplers.tables import AliasTable, SumTree

positive = st.lists(st.sampled_from([0.0, 1e-9, 0.3, 1.0, 50.0]), min_size=1, max_size=20).filter(any)


@given(positive)
@settings(deadline=None, max_examples=200)
def test_an_alias_table_holds_the_probabilities(weights):
    array = np.array(weights)
    table = AliasTable(array)
    share = table._chances / len(array)
    np.add.at(share, table._aliases, (1 - table._chances) / len(array))
    np.testing.assert_allclose(share, array / array.sum(), atol=1e-12)
    assert not share[array == 0].any()


def test_alias_draws_are_distributed_as_the_weights(deviation, weights):
    table = AliasTable(weights)
    ids = table.draw(300_000, make_key(0, "alias"))
    group = np.arange(len(weights)) % 300
    expected = np.bincount(group, weights) / weights.sum(dtype=float) * len(ids)
    assert -4.75 < deviation(np.bincount(group[ids]), expected) < 4.75
    assert not (weights[ids] == 0).any()
    assert abs(np.corrcoef(ids[:-1], ids[1:])[0, 1]) < 4.9 / np.sqrt(len(ids))


def test_an_alias_table_needs_a_weight():
    with pytest.raises(SamplingError, match="all are 0"):
        AliasTable(np.zeros(3))
    with pytest.raises(SamplingError, match="sample 1"):
        AliasTable(np.array([1, np.nan]))


@given(
    positive,
    st.lists(st.tuples(st.integers(0, 19), st.sampled_from([0.0, 0.5, 3.0, 1e12])), max_size=20),
)
@settings(deadline=None, max_examples=200)
def test_a_tree_sums_what_its_leaves_hold(weights, changes):
    expected = np.array(weights)
    tree = SumTree(expected)
    changes = [(i % len(weights), w) for i, w in changes]
    tree.update(np.array([i for i, _ in changes], np.int64), np.array([w for _, w in changes]))
    for i, w in changes:
        expected[i] = w
    np.testing.assert_array_equal(tree.weights, expected)
    assert tree._tree[1] == pytest.approx(expected.sum(), rel=1e-14)
    if expected.any():
        assert (expected[tree.draw(50, make_key(1, "tree"))] > 0).all()
    count = np.count_nonzero(expected)
    assert sorted(tree.take(count, make_key(2, "tree")).tolist()) == np.flatnonzero(expected).tolist()
    assert not tree.weights.any()


def test_tree_draws_follow_the_present_weights(deviation):
    tree = SumTree(np.array([1.0, 1, 1, 1, 1]))
    tree.update(np.array([1, 3]), np.array([4.0, 0.0]))
    counts = np.bincount(tree.draw(14_000, make_key(0, "tree")), minlength=5)
    assert deviation(counts, [2000, 8000, 2000, 0, 2000]) < 4.75


def test_taking_is_successive_sampling(deviation):
    weights = np.array([3.0, 2.0, 1.0])
    counts = dict.fromkeys([(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)], 0)
    for number in range(6000):
        counts[tuple(SumTree(weights).take(2, make_key(0, "take", number)).tolist())] += 1
    expected = [6000 * weights[a] / 6 * weights[b] / (6 - weights[a]) for a, b in counts]
    assert deviation(list(counts.values()), expected) < 4.75


def test_a_tree_refuses_what_it_cannot_do_and_stays_as_it_was():
    weights = np.array([1.0, 0.0, 2.0])
    tree = SumTree(weights)
    with pytest.raises(SamplingError, match="at most the 2 samples"):
        tree.take(3, make_key(0, "tree"))
    with pytest.raises(SamplingError, match="sample 2"):
        tree.update(np.array([0, 2]), np.array([1.0, np.nan]))
    with pytest.raises(SamplingError, match="from 0 to 2"):
        tree.update(np.array([3]), np.array([1.0]))
    with pytest.raises(SamplingError, match="got 1 for 2"):
        tree.update(np.array([0, 1]), np.array([1.0]))
    np.testing.assert_array_equal(tree.weights, weights)
    with pytest.raises(SamplingError, match="at most the 0 samples"):
        SumTree(np.zeros(4)).draw(1, make_key(0, "tree"))
