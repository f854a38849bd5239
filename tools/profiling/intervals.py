"""How sure a ratio of two measured times is: its interval, or why there is none.

Turns that alternate see the same machine, so their ratios are compared in pairs (`paired`). Profiles that
were taken apart don't: between them clocks, neighbors and the layout of memory change, which the windows of
either don't show. Kalibera and Jones (2013), "Rigorous benchmarking in reasonable time", hence take the
variance between whole executions; of one execution each there is none, and the variance between the moments
of each takes its place, with a floor (`apart`).
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tools.studying.statistics import ALPHA, interval, t_quantile

LEAST = 3
"""Turns or windows from which on there is an interval."""

WIDEST = 10.0
"""Upper by lower bound from which on an interval says nothing."""

DRIFT = 0.02
"""Standard deviation, as a fraction, that a profile's level has between profiles at the least."""

UNMEASURABLE = "not measurable"

_MOMENTS = 3
"""Parts of a profile, its beginning, middle and end, whose levels are compared."""

_CERTAIN = 1000
"""Degrees of freedom of what is known rather than estimated."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times faster the second of two measurements is, with its interval at 1 - `ALPHA`.

    Attributes
    ----------
    unmeasured
        Why there is no interval; None where there is one.
    """

    speedup: float
    low: float | None = None
    high: float | None = None
    unmeasured: str | None = None

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 1."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high

    @property
    def text(self) -> str:
        """The interval in words."""
        return interval_text(self.low, self.high, self.unmeasured)


def interval_text(low: float | None, high: float | None, unmeasured: str | None) -> str:
    """Return an interval in words, or that there is none.

    >>> interval_text(0.97, 1.034, None), interval_text(None, None, "2 turns are too few")
    ('0.97 to 1.03', 'not measurable: 2 turns are too few')
    """
    if low is None or high is None or not _says_something(low, high):
        return f"{UNMEASURABLE}: {unmeasured or 'its times vary too much'}"
    return f"{low:.2f} to {high:.2f}"


def paired(base: Sequence[float], changed: Sequence[float]) -> Ratio:
    """Compare two series that were measured in turns, pair by pair, by Student's interval on logarithms."""
    logs = [math.log(one / other) for one, other in zip(base, changed, strict=True)]
    speedup = math.exp(statistics.median(logs))
    if len(logs) < LEAST:
        return Ratio(speedup, unmeasured=_too_few(len(logs), "turn"))
    found = interval(logs)
    assert found is not None
    return _ratio(speedup, found.low, found.high, _varying(max(logs) - min(logs)))


def apart(
    one: Sequence[float],
    other: Sequence[float],
    later: tuple[Sequence[float], Sequence[float]] = ((), ()),
    machine: float = 1.0,
) -> Ratio:
    """Compare two series of seconds that were measured apart, by Welch's interval on their logarithms.

    Parameters
    ----------
    later
        Levels at further moments of either measurement.
    machine
        How many times faster the machine itself was for the second, by a fixed piece of work.
    """
    logs = [[math.log(value) for value in series if value > 0] for series in (one, other)]
    speedup = math.exp(statistics.median(logs[0]) - statistics.median(logs[1]))
    fewest = min(map(len, logs))
    if fewest < LEAST:
        return Ratio(speedup, unmeasured=_too_few(fewest, "window"))
    levels = [_level(series, more) for series, more in zip(logs, later, strict=True)]
    if machine != 1:
        levels.append((math.log(machine) ** 2, _CERTAIN))
    error = sum(variance for variance, _ in levels)
    freedom = error**2 / sum(variance**2 / known for variance, known in levels)
    half = t_quantile(1 - ALPHA / 2, max(1, min(_CERTAIN, int(freedom)))) * math.sqrt(error)
    center = math.log(speedup)
    spread, moved = max(max(series) - min(series) for series in logs), abs(math.log(machine))
    why = f"the machine itself differed {math.exp(moved):.1f}-fold" if moved > spread else _varying(spread)
    return _ratio(speedup, center - half, center + half, why)


def drift(series: Sequence[float], later: Sequence[float] = ()) -> float:
    """Return the standard deviation of a measurement's level between its moments, as a fraction."""
    logs = [math.log(value) for value in series if value > 0]
    return math.sqrt(statistics.variance(_moments(logs, later))) if len(logs) >= LEAST else 0.0


def _level(logs: Sequence[float], later: Sequence[float]) -> tuple[float, int]:
    """Return the variance of a measurement's level between measurements, and its degrees of freedom."""
    moments = _moments(logs, later)
    # Of a median of windows that are normally distributed.
    error = math.pi / 2 * statistics.variance(logs) / len(logs)
    return max((statistics.variance(moments), len(moments) - 1), (error, len(logs) - 1), (DRIFT**2, _CERTAIN))


def _moments(logs: Sequence[float], later: Sequence[float]) -> list[float]:
    """Return the logarithms of the levels at the beginning, in the middle, at the end, and later."""
    bounds = [len(logs) * part // _MOMENTS for part in range(_MOMENTS + 1)]
    parts = [logs[begin:end] for begin, end in itertools.pairwise(bounds)]
    return [*(statistics.median(part) for part in parts), *(math.log(value) for value in later if value > 0)]


def _ratio(speedup: float, low: float, high: float, why: str) -> Ratio:
    """Return a ratio with its interval, or ``why`` that says nothing."""
    # Beyond what a float's exponential holds an interval says nothing either.
    bounds = [math.exp(max(-700.0, min(700.0, value))) for value in (low, high)]
    if not _says_something(*bounds):
        return Ratio(speedup, unmeasured=why)
    # The median may lie outside of an interval of the mean.
    return Ratio(speedup, min(bounds[0], speedup), max(bounds[1], speedup))


def _varying(logs: float) -> str:
    if logs > math.log(1e4):
        return "its times vary more than 10,000-fold"
    return f"its times vary {math.exp(logs):,.1f}-fold"


def _says_something(low: float, high: float) -> bool:
    return 0 < low <= high < math.inf and high / low < WIDEST


def _too_few(count: int, what: str) -> str:
    return f"{count} {what}{' is' if count == 1 else 's are'} too few"
