"""Statistics against published tables and by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.studying.statistics import (
    detectable,
    holm,
    interval,
    p_value,
    paired_t,
    pooled,
    power,
    sign_flip,
    t_cdf,
    t_quantile,
    trimmed_mean,
)


@pytest.mark.parametrize(
    ("p", "freedom", "published"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.95, 2, 2.920),
        (0.975, 4, 2.776),
        (0.975, 9, 2.262),
        (0.995, 30, 2.750),
        (0.9995, 5, 6.869),
    ],
)
def test_quantiles_of_t_are_those_of_the_tables(p: float, freedom: int, published: float) -> None:
    assert t_quantile(p, freedom) == pytest.approx(published, abs=6e-4)
    assert t_cdf(-t_quantile(p, freedom), freedom) == pytest.approx(1 - p)


def test_the_paired_t_test_of_student_s_own_sleep_data() -> None:
    """Student (1908): additional hours of sleep of ten patients, t = 4.062, p = 0.002833 on 9 degrees."""
    differences = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    assert paired_t(differences) == pytest.approx(0.002833, abs=1e-6)
    found = interval(differences)
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((1.58, 0.7001, 2.4599), abs=1e-4)


def test_darwin_s_maize_by_all_sign_flips() -> None:
    """Fisher (1935, section 21): 863 of 32,768 assignments reach the sum on either side: 5.267%."""
    eighths = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert sign_flip(eighths) == pytest.approx(2 * 863 / 32768)
    assert paired_t(eighths) == pytest.approx(0.0497, abs=1e-4)


@pytest.mark.parametrize(("effect", "pairs", "published"), [(0.5, 34, 0.8078), (1.0, 10, 0.8031)])
def test_power_is_that_of_the_tables(effect: float, pairs: int, published: float) -> None:
    assert power(effect, pairs) == pytest.approx(published, abs=2e-4)


def test_what_is_detected_at_a_number_of_pairs() -> None:
    assert detectable(1.0, 34) == pytest.approx(0.4947, abs=2e-3)
    assert detectable(2.0, 3) == pytest.approx(2 * 3.264, abs=2e-3)
    strict = detectable(1.0, 3, 0.05 / 12)
    assert strict is not None
    assert strict > 3.264
    assert detectable(1.0, 1) is None


def test_few_pairs() -> None:
    assert p_value([0.1], "t") is None
    assert p_value([0.0, 0.0], "t") == 1
    assert p_value([0.1, 0.1], "t") is None
    assert p_value([1.0, 2.0, 3.0], "sign_flip") == 0.25
    assert interval([1.0]) is None
    assert pooled([[1.0], [2.0]]) is None
    assert pooled([[1.0, 3.0], [0.0, 0.0, 0.0]]) == pytest.approx((2 / 3) ** 0.5)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03], 3) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.01, 0.04], 5) == pytest.approx([0.05, 0.16])
    assert holm([], 0) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_keeps_the_order_and_lowers_no_p(values: list[float]) -> None:
    adjusted = holm(values, len(values))
    assert all(value <= other <= 1 for value, other in zip(values, adjusted, strict=True))
    assert [adjusted[i] for i in sorted(range(len(values)), key=lambda i: values[i])] == sorted(adjusted)


def test_the_fastest_and_the_slowest_are_left_out_of_three_or_more() -> None:
    assert trimmed_mean([9.0, 1.0, 2.0, 3.0]) == 2.5
    assert trimmed_mean([1.0, 2.0]) == 1.5


def test_many_pairs_are_flipped_at_random_and_the_same_every_time() -> None:
    differences = [0.5 + (-1) ** number for number in range(24)]
    assert sign_flip(differences) == sign_flip(differences)
    assert 0.001 < sign_flip(differences) < 0.1
