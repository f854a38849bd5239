from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from samplers import SamplingError
from samplers.draws import draw, kernels, threads
from samplers.draws.counter import make_key


def _small_weights(max_size: int = 8) -> Any:
    return st.lists(st.sampled_from([0.0, 1e-30, 0.1, 1.0, 7.0]), min_size=1, max_size=max_size).filter(any)


def _set_probabilities(weights: Any, size: int) -> Any:
    """Slow reference: every sequence of successive draws, added up by the set that it makes."""
    sets = dict.fromkeys(combinations(range(len(weights)), size), 0.0)
    for sequence in permutations(range(len(weights)), size):
        left, chance = sum(weights), 1.0
        for i in sequence:
            chance *= weights[i] / left
            left -= weights[i]
        sets[tuple(sorted(sequence))] += chance
    return sets


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sets_without_replacement_have_the_probabilities_of_successive_sampling(
    deviation: Callable[[ArrayLike, ArrayLike], float], size: int, dtype: Any
) -> None:
    weights = np.array([0.5, 4, 1, 0.25, 2], dtype)
    sets = _set_probabilities(weights.tolist(), size)
    counts = dict.fromkeys(sets, 0)
    draws = 8000
    for number in range(draws):
        counts[
            tuple(sorted(draw.without_replacement(weights, size, make_key(1, "test", number)).tolist()))
        ] += 1
    assert deviation([counts[s] for s in sets], [draws * sets[s] for s in sets]) < 4.75


def test_order_within_a_draw_is_uniform_whatever_the_weights(
    deviation: Callable[[ArrayLike, ArrayLike], float],
) -> None:
    weights = np.array([100.0, 1.0, 10.0], np.float32)
    counts = dict.fromkeys(permutations(range(3)), 0)
    for number in range(6000):
        counts[tuple(draw.without_replacement(weights, 3, make_key(2, "test", number)).tolist())] += 1
    assert deviation(list(counts.values()), np.full(6, 1000.0)) < 4.75


def test_large_draws_without_replacement_include_by_their_keys_distribution(
    weights: NDArray[np.float32],
) -> None:
    # With many samples, i is drawn where -log(u) < w_i t, and t makes the expected count the size.
    size = 30_000
    low, high = 0.0, 1e9
    for _ in range(200):
        t = (low + high) / 2
        low, high = (t, high) if -np.expm1(-weights.astype(float) * t).sum() < size else (low, t)
    chance = -np.expm1(-weights.astype(float) * t)
    times = np.zeros(len(weights))
    for number in range(5):
        times[draw.without_replacement(weights, size, make_key(0, "test", number))] += 1
    assert times.sum() == 5 * size
    assert not times[weights == 0].any()
    edges = np.quantile(weights[weights > 0], np.linspace(0, 1, 21))
    group = np.clip(np.searchsorted(edges, weights, side="right") - 1, 0, 19)
    for which in range(20):
        members = (group == which) & (weights > 0)
        expected = 5 * chance[members].sum()
        spread = np.sqrt(5 * (chance[members] * (1 - chance[members])).sum())
        assert abs(times[members].sum() - expected) < 4.9 * spread


def test_draws_without_replacement_are_those_of_the_smallest_keys(weights: NDArray[np.float32]) -> None:
    # Against the keys in float64, sorted: float32 and its bins decide nothing.
    key = make_key(0, "keys")
    logs = np.empty(len(weights))
    ids = np.arange(len(weights), dtype=np.int32)
    threads.run(kernels.log_keys, [(0, len(ids))], key, weights, ids, logs)
    logs[weights == 0] = np.inf
    for size in (1, 17, 30_000, 85_000):
        drawn = draw.without_replacement(weights, size, key)
        np.testing.assert_array_equal(np.sort(drawn), np.sort(np.argsort(logs)[:size]))


@given(weights=_small_weights(), data=st.data())
@settings(deadline=None, max_examples=200)
def test_without_replacement_gives_different_ids_of_positive_weight(weights: Any, data: Any) -> None:
    array = np.array(weights, data.draw(st.sampled_from([np.float32, np.float64])))
    size = data.draw(st.integers(0, len(weights)))
    key = make_key(data.draw(st.integers(0, 99)), "test")
    positive = np.flatnonzero(array)
    if size > len(positive):
        with pytest.raises(SamplingError, match=f"{len(positive)} samples of weight above 0"):
            draw.without_replacement(array, size, key)
    ids = draw.without_replacement(array, size, key, fill=True)
    assert ids.dtype == np.int64
    assert len(np.unique(ids)) == len(ids) == size
    assert len(np.intersect1d(ids, positive)) == min(size, len(positive))


def test_filling_up_is_uniform(deviation: Callable[[ArrayLike, ArrayLike], float]) -> None:
    weights = np.array([0, 3, 0, 0, 0], np.float32)
    counts = np.zeros(5)
    for number in range(4000):
        counts[draw.without_replacement(weights, 3, make_key(0, "fill", number), fill=True)] += 1
    assert counts[1] == 4000
    assert deviation(counts[[0, 2, 3, 4]], np.full(4, 2000.0)) < 4.75


@pytest.mark.parametrize("draws", ["with_replacement", "systematic"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_expected_counts_are_proportional_to_weights(
    deviation: Callable[[ArrayLike, ArrayLike], float], draws: str, dtype: Any
) -> None:
    weights = np.array([0.5, 0, 4, 1, 0.25, 2], dtype)
    counts = np.zeros(6)
    for number in range(4000):
        counts += np.bincount(getattr(draw, draws)(weights, 7, make_key(0, draws, number)), minlength=6)
    expected = weights / weights.sum() * counts.sum()
    if draws == "with_replacement":
        assert deviation(counts, expected) < 4.75
    else:  # counts vary by less than one either way, so their means by less than 1 / sqrt(4 * 4000)
        assert (np.abs(counts - expected) <= 4.9 * np.sqrt(4000 / 4)).all()


def test_draws_with_replacement_are_independent(deviation: Callable[[ArrayLike, ArrayLike], float]) -> None:
    weights = np.array([3.0, 2.0, 1.0])
    chance = weights / weights.sum()
    counts = dict.fromkeys(product(range(3), repeat=3), 0)
    for number in range(20_000):
        counts[tuple(draw.with_replacement(weights, 3, make_key(5, "test", number)).tolist())] += 1
    expected = [20_000 * chance[a] * chance[b] * chance[c] for a, b, c in counts]
    assert deviation(list(counts.values()), expected) < 4.75


def test_large_draws_with_replacement_have_multinomial_counts(
    deviation: Callable[[ArrayLike, ArrayLike], float], weights: NDArray[np.float32]
) -> None:
    ids = draw.with_replacement(weights, 400_000, make_key(0, "large"))
    group = np.arange(len(weights)) * 500 // len(weights)
    counts = np.bincount(group[ids], minlength=500)
    expected = np.bincount(group, weights, 500) / weights.sum(dtype=float) * len(ids)
    assert -4.75 < deviation(counts, expected) < 4.75  # too even would be wrong, too
    assert not (weights[ids] == 0).any()
    halves = np.bincount(np.arange(len(ids)) * 100 // len(ids), weights=ids.astype(float)) / 4000
    spread = ids.std() / np.sqrt(4000)
    assert np.abs(halves - ids.mean()).max() < 5.5 * spread  # no drift: the order is shuffled


@given(weights=_small_weights(30), size=st.integers(0, 60), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=200)
def test_systematic_counts_are_rounded_expectations(weights: Any, size: int, seed: int) -> None:
    array = np.array(weights)
    ids = draw.systematic(array, size, make_key(seed, "test"))
    counts = np.bincount(ids, minlength=len(array))
    expected = array / array.sum() * size
    assert len(ids) == size
    assert (counts >= np.floor(expected - 1e-9)).all()
    assert (counts <= np.ceil(expected + 1e-9)).all()
    assert not counts[array == 0].any()


@pytest.mark.parametrize("draws", ["with_replacement", "systematic", "without_replacement"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
class TestExtremes:
    def test_one_positive_weight_takes_all(self, draws: str, dtype: Any) -> None:
        weights = np.zeros(50_000, dtype)
        weights[40_321] = np.finfo(dtype).smallest_subnormal
        assert getattr(draw, draws)(weights, 1, make_key(0, "one")).tolist() == [40_321]

    def test_denormals_count_by_their_ratios(
        self, deviation: Callable[[ArrayLike, ArrayLike], float], draws: str, dtype: Any
    ) -> None:
        weights = np.array([1, 0, 2, 5], dtype) * np.finfo(dtype).smallest_subnormal
        counts = np.zeros(4)
        for number in range(8000):
            counts[getattr(draw, draws)(weights, 1, make_key(0, "denormal", number))] += 1
        assert deviation(counts, [1000, 0, 2000, 5000]) < 4.75

    def test_huge_ratios_leave_the_light_to_the_end(self, draws: str, dtype: Any) -> None:
        info = np.finfo(dtype)
        weights = np.full(30_000, info.smallest_subnormal, dtype)
        heavy = np.arange(0, 30_000, 100)
        weights[heavy] = info.max
        ids = getattr(draw, draws)(weights, len(heavy), make_key(0, "ratio"))
        assert np.isin(ids, heavy).all()
        if draws == "without_replacement":
            more = draw.without_replacement(weights, len(heavy) + 5000, make_key(0, "ratio"))
            assert len(np.unique(more)) == len(more)
            assert np.isin(heavy, more).all()

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e-30])
    def test_a_weight_that_is_none_names_its_id(self, draws: str, dtype: Any, value: Any) -> None:
        weights = np.ones(20_000, dtype)
        weights[[17_003, 19_000]] = value
        with pytest.raises(SamplingError, match=r"finite and at least 0; got .* for sample 17003$"):
            getattr(draw, draws)(weights, 3, make_key(0, "bad"))

    def test_negative_zero_is_zero(self, draws: str, dtype: Any) -> None:
        weights = np.array([-0.0, 1.0], dtype)
        assert getattr(draw, draws)(weights, 1, make_key(0, "minus")).tolist() == [1]

    def test_strided_weights_are_drawn_from_as_they_read(self, draws: str, dtype: Any) -> None:
        weights = np.arange(40_000, dtype=dtype)
        ids = getattr(draw, draws)(weights[::-2], 100, make_key(0, "stride"))
        expected = getattr(draw, draws)(weights[::-2].copy(), 100, make_key(0, "stride"))
        np.testing.assert_array_equal(ids, expected)

    def test_results_do_not_depend_on_threads(
        self, draws: str, dtype: Any, weights: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        results = []
        for count in (1, 2, 3, 7):
            monkeypatch.setattr(threads, "in_use", lambda count=count: count)
            monkeypatch.setattr(threads, "SPAN", 1000)
            results.append(getattr(draw, draws)(weights.astype(dtype), 20_000, make_key(0, "threads")))
        for other in results[1:]:
            np.testing.assert_array_equal(results[0], other)

    def test_sizes_out_of_range_are_refused(self, draws: str, dtype: Any) -> None:
        with pytest.raises(SamplingError, match=r"size must be .* got -1"):
            getattr(draw, draws)(np.ones(3, dtype), -1, make_key(0, "size"))
        assert getattr(draw, draws)(np.ones(3, dtype), 0, make_key(0, "size")).shape == (0,)


def test_more_than_all_without_replacement_is_refused() -> None:
    with pytest.raises(SamplingError, match=r"from 0 to the 3 samples .* got 4"):
        draw.without_replacement(np.ones(3), 4, make_key(0, "size"))


@pytest.mark.parametrize("draws", ["with_replacement", "systematic"])
def test_nothing_can_be_drawn_when_all_weights_are_0(draws: str) -> None:
    with pytest.raises(SamplingError, match="at least one above 0; all are 0"):
        getattr(draw, draws)(np.zeros(5), 2, make_key(0, "zero"))


@pytest.mark.parametrize(
    ("weights", "message"),
    [(np.ones(3, np.int64), "got int64"), (np.ones((2, 2)), r"shape \(2, 2\)"), (np.ones(0), "got 0")],
)
def test_other_types_and_shapes_are_refused(weights: Any, message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        draw.check_weights(weights)
