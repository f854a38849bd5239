"""Significance of differences between runs that are paired by their seeds."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from tools.studying.definition import Test

ALPHA, POWER = 0.05, 0.8
"""Level of the tests, two-sided, and the power at which a difference counts as detectable."""

MOST_EXACT = 20
"""Pairs up to which all sign flips are tried: a million."""

_TINY = 1e-300
_GRID = 20_001


def trimmed_mean(values: Sequence[float]) -> float:
    """Return the mean without the smallest and the largest of at least 3 values; of fewer, that of all."""
    kept = sorted(values)[1:-1] if len(values) >= 3 else values
    return statistics.fmean(kept)


def t_cdf(t: float, freedom: int) -> float:
    """Return P(T <= t) of Student's t distribution, by the regularized incomplete beta function."""
    if math.isinf(t):
        return float(t > 0)
    tail = incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2
    return 1 - tail if t > 0 else tail


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b), by its continued fraction.

    Lentz's algorithm, as in Press et al., Numerical Recipes (2007), section 6.4.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 1000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away(1 + numerator * d)
            c = _away(1 + numerator / c)
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction / a


def _away(value: float) -> float:
    """Return ``value``, moved away from 0."""
    return value if abs(value) > _TINY else _TINY


def t_quantile(p: float, freedom: int) -> float:
    """Return the t with P(T <= t) = p, for p above 0.5."""
    high = 1.0
    while t_cdf(high, freedom) < p:
        high *= 2
    return _bisect(lambda t: t_cdf(t, freedom) < p, 0.0, high)


def paired_t(differences: Sequence[float]) -> float | None:
    """Return the p-value of the two-sided paired t-test; 1 for differences that are all 0.

    None for equal differences that aren't: they have no spread to test by.

    Parameters
    ----------
    differences
        At least 2, one per seed.
    """
    mean, deviation = statistics.fmean(differences), statistics.stdev(differences)
    if deviation == 0:
        return 1.0 if mean == 0 else None
    t = abs(mean) / (deviation / math.sqrt(len(differences)))
    return incomplete_beta((freedom := len(differences) - 1) / (freedom + t * t), freedom / 2, 0.5)


def sign_flip(differences: Sequence[float]) -> float:
    """Return the exact p-value of the two-sided sign-flip permutation test of the mean (Fisher 1935).

    The fraction of all 2**n assignments of signs whose sum is at least as far from 0. Its least value is
    2**(1 - n): below six pairs it can't reach 0.05.
    """
    if len(differences) > MOST_EXACT:
        # 2**20 assignments are drawn from a fixed seed; the one that was observed is counted among them.
        rng = np.random.default_rng(0)
        values = np.asarray(differences)
        drawn = np.concatenate(
            [(rng.choice((-1.0, 1.0), (1 << 14, len(values))) @ values) for _ in range(64)]
        )
        return float((1 + int((abs(drawn) >= _slack(differences)).sum())) / (1 + len(drawn)))
    # Of two opposite assignments one is enough.
    first, *others = differences
    sums = [
        first + sum(sign * value for sign, value in zip(signs, others, strict=True))
        for signs in itertools.product((1, -1), repeat=len(others))
    ]
    return sum(abs(value) >= _slack(differences) for value in sums) / len(sums)


def _slack(differences: Sequence[float]) -> float:
    """Return the sum that others must reach, less the error of rounding."""
    return abs(sum(differences)) - 1e-12 * sum(map(abs, differences))


def p_value(differences: Sequence[float], test: Test) -> float | None:
    """Return the p-value of paired differences; None where there are fewer than 2, or no spread."""
    if len(differences) < 2:
        return None
    return paired_t(differences) if test == "t" else sign_flip(differences)


def holm(p_values: Sequence[float], comparisons: int) -> list[float]:
    """Return p-values adjusted for the number of comparisons (Holm 1979), in their order.

    Parameters
    ----------
    comparisons
        Of the whole family; those without a p-value yet count as the larger ones.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (comparisons - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def power(effect: float, pairs: int, alpha: float = ALPHA) -> float:
    """Return the power of the two-sided paired t-test.

    Parameters
    ----------
    effect
        Mean difference in standard deviations of the differences.
    """
    freedom, shift = pairs - 1, effect * math.sqrt(pairs)
    critical = t_quantile(1 - alpha / 2, freedom)
    return 1 - _noncentral(critical, freedom, shift) + _noncentral(-critical, freedom, shift)


def _noncentral(t: float, freedom: int, shift: float) -> float:
    """Return P(T <= t) of the noncentral t distribution, E[Phi(t s - shift)] over s = chi / sqrt(freedom)."""
    most = math.sqrt(1 + 12 / math.sqrt(freedom) + 60 / freedom)
    s = np.linspace(0, most, _GRID)[1:]
    log = freedom * math.log(freedom / 2) / 2 - math.lgamma(freedom / 2) + math.log(2)
    density = np.exp(log + (freedom - 1) * np.log(s) - freedom * s * s / 2)
    normal = torch.special.ndtr(torch.from_numpy(t * s - shift)).numpy()
    return float((density * normal).sum() * (s[1] - s[0]))


def detectable(deviation: float, pairs: int, alpha: float = ALPHA) -> float | None:
    """Return the smallest mean difference that a two-sided paired t-test detects with `POWER`.

    Parameters
    ----------
    deviation
        Standard deviation of the differences.

    Returns
    -------
    None for fewer than 2 pairs.
    """
    return None if pairs < 2 else deviation * _detectable_effect(pairs, alpha)


@cache
def _detectable_effect(pairs: int, alpha: float) -> float:
    """Return the difference that is detected with `POWER`, in standard deviations."""
    high = 1.0
    while power(high, pairs, alpha) < POWER:
        high *= 2
    return _bisect(lambda effect: power(effect, pairs, alpha) < POWER, 0.0, high, 40)


def _bisect(below: Callable[[float], bool], low: float, high: float, halvings: int = 100) -> float:
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean difference with its confidence interval at 1 - `ALPHA`."""

    mean: float
    low: float
    high: float


def interval(differences: Sequence[float]) -> Interval | None:
    """Return the mean of paired differences with its interval by Student's t; None for fewer than 2."""
    if len(differences) < 2:
        return None
    mean = statistics.fmean(differences)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    half = t_quantile(1 - ALPHA / 2, len(differences) - 1) * error
    return Interval(mean, mean - half, mean + half)


def pooled(groups: Sequence[Sequence[float]]) -> float | None:
    """Return the standard deviation within groups, pooled over those of at least 2 values; None for none."""
    known = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in known)
    if not freedom:
        return None
    return math.sqrt(sum((len(group) - 1) * statistics.variance(group) for group in known) / freedom)
