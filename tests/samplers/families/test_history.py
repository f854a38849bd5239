"""Tables against plain formulas over all the rows of a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samplers import SamplingError
from samplers.families.history import Change, Mean, Moments, Recent, Tracked, fill_unseen

rows = st.lists(
    st.tuples(st.integers(0, 3), st.floats(0, 5, width=32), st.sampled_from([0.0, 0.25, 0.6, 1.0])),
    max_size=25,
)


def _fold(table: Any, rows: Any) -> Any:
    ids, values, coefficients = (
        (np.array(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    )
    table.fold(
        np.asarray(ids, np.int64), np.asarray(values, np.float32), np.asarray(coefficients, np.float32)
    )
    return table


def _of(rows: Any, sample: Any) -> Any:
    return [(value, coefficient) for i, value, coefficient in rows if i == sample and coefficient > 0]


@given(rows)
@settings(deadline=None)
def test_mean(rows: Any) -> None:
    table = _fold(Mean(4), rows)
    for i in range(4):
        rows_of_sample = _of(rows, i)
        weight = sum(s for _, s in rows_of_sample)
        assert table.columns()["weight"][i] == pytest.approx(weight, rel=1e-5)
        if rows_of_sample:
            assert table.values[i] == pytest.approx(
                sum(v * s for v, s in rows_of_sample) / weight, rel=1e-4, abs=1e-5
            )
        else:
            assert np.isnan(table.values[i])


@given(rows)
@settings(deadline=None)
def test_moments(rows: Any) -> None:
    table = _fold(Moments(4), rows)
    for i in range(4):
        values, coefficients = np.array(_of(rows, i) or np.empty((0, 2))).T
        weight, square = coefficients.sum(), (coefficients**2).sum()
        count = weight**2 / square if len(coefficients) else 0
        assert table.count()[i] == pytest.approx(count, rel=1e-4)
        if len(coefficients) > 1:
            mean = (values * coefficients).sum() / weight
            variance = (coefficients * (values - mean) ** 2).sum() / (weight - square / weight)
            assert table.variance()[i] == pytest.approx(variance, rel=2e-3, abs=1e-4)
        else:
            assert np.isnan(table.variance()[i])


def test_the_variance_of_whole_shares_is_the_textbooks() -> None:
    values = np.array([0.1, 0.7, 0.4, 0.9], np.float32)
    table = Moments(1)
    table.fold(np.zeros(4, np.int64), values, np.ones(4, np.float32))
    assert table.count()[0] == 4
    assert table.variance()[0] == pytest.approx(values.var(ddof=1), rel=1e-6)


@given(rows, st.sampled_from([0.1, 0.5, 1.0]))
@settings(deadline=None)
def test_recent_and_tracked(rows: Any, rate: Any) -> None:
    recent, tracked = _fold(Recent(4, rate), rows), _fold(Tracked(4, rate), rows)
    for i in range(4):
        average, variance, weight = np.nan, 0.0, 0.0
        for value, coefficient in _of(rows, i):
            weight += coefficient
            if np.isnan(average):
                average = value
            else:
                gap = value - average
                variance += (gap**2 - variance) * coefficient * rate
                average += gap * coefficient * rate
        np.testing.assert_allclose(recent.values[i], average, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(tracked.recent[i], average, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(tracked.variance[i], variance, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(tracked.weight[i], weight, rtol=1e-5)


@given(rows)
@settings(deadline=None)
def test_change(rows: Any) -> None:
    table = _fold(Change(4, 0.3, 2.0), rows)
    for i in range(4):
        last, change = np.nan, np.nan
        for value, coefficient in _of(rows, i):
            if np.isnan(last):
                last = value
            else:
                step = min(abs(value - last), 2.0)
                change = step if np.isnan(change) else change + (step - change) * coefficient * 0.3
                last += (value - last) * coefficient
        np.testing.assert_allclose(table.columns()["last"][i], last, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(table.values[i], change, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "table",
    [Mean(3), Moments(3), Recent(3), Tracked(3, 0.5), Change(3, 0.5, 10)],
    ids=lambda t: type(t).__name__,
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_names_its_sample(table: Any, value: Any) -> None:
    with pytest.raises(SamplingError, match=f"finite; got {value} for sample 2"):
        _fold(table, [(0, 1.0, 1.0), (2, value, 1.0), (1, value, 1.0)])


def test_unseen_samples_get_the_maximum_and_all_get_1_when_none_is_seen() -> None:
    nan = np.nan
    np.testing.assert_array_equal(
        fill_unseen(np.array([0.2, nan, 0.5, nan], np.float32)),
        np.float32([0.2, 0.5, 0.5, 0.5]),  # type: ignore[arg-type]
    )
    np.testing.assert_array_equal(fill_unseen(np.array([nan, nan], np.float32)), [1, 1])
