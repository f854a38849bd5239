"""Formatting of numbers in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainer.config import Run

NONE = "\N{EN DASH}"
"""Placeholder of tables for a missing figure."""

MINUS = "\N{MINUS SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
SPACE = "\N{NO-BREAK SPACE}"

FLOP_UNITS = {1e6: "MFLOP", 1e9: "GFLOP", 1e12: "TFLOP", 1e15: "PFLOP", 1e18: "EFLOP"}


def count(value: float | None) -> str:
    """Return an integer with thousands separated.

    >>> count(1800000)
    '1,800,000'
    """
    return NONE if value is None else f"{value:,.0f}"


def plain(value: float) -> str:
    """Return a number with three digits at least, never as a power of ten.

    >>> plain(0.01234), plain(99.96), plain(1234.5)
    ('0.0123', '100', '1,234')
    """
    return f"{value:,.3g}" if abs(value) < 999.5 else f"{value:,.0f}"


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction as percent, with the given number of digits.

    >>> percent(0.9123), percent(0.3, 0)
    ('91.2%', '30%')
    """
    return NONE if fraction is None else f"{100 * fraction:.{digits}f}%"


def multiple(times: float) -> str:
    """Return how many times as much, in words.

    >>> multiple(302.4), multiple(1.82)
    ('302 times', '1.8 times')
    """
    return f"{times:,.0f} times" if times >= 10 else f"{times:.1f} times"


def budget(fraction: float | None) -> str:
    """Return a budget as percent, without trailing zeros.

    >>> budget(0.3), budget(0.125)
    ('30%', '12.5%')
    """
    return NONE if fraction is None else f"{100 * fraction:.4g}%"


def planned_cost(run: Run) -> str:
    """Return a run's budget in words.

    >>> planned_cost(Run(budget=0.3, epochs=200)), planned_cost(Run(budget=1, budget_hours=2.5))
    ('30% of 200 epochs', '2.5 hours')
    """
    if run.budget_hours is not None:
        return hours(run.budget_hours)
    counted = "the compute of " if run.counts == "compute" else ""
    return f"{budget(run.budget)} of {counted}{run.epochs:g} epochs"


def hours(value: float) -> str:
    """Return a budget in hours.

    >>> hours(0.05), hours(1.0)
    ('0.05 hours', '1 hour')
    """
    return f"{value:.6g} hour{'' if value == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Return a time in its usual units.

    >>> [duration(s).replace(SPACE, " ") for s in (0.042, 7.31, 161.4, 11100)]
    ['0.04 s', '7.3 s', '2 min 41 s', '3 h 5 min']
    """
    if seconds is None:
        return NONE
    if seconds < 59.95:
        return f"{seconds:.{2 if seconds < 1 else 1}f}{SPACE}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{SPACE}min{SPACE}{whole % 60}{SPACE}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,}{SPACE}h{SPACE}{minutes % 60}{SPACE}min"


def ratio(value: float | None, base: float | None) -> str:
    """Return the ratio of a value to ``base``.

    >>> ratio(3.0, 2.0).replace(TIMES, "x")
    '1.50x'
    """
    if value is None or not base:
        return NONE
    return f"{value / base:.2f}{TIMES}"


def points(value: float | None, base: float | None) -> str:
    """Return the difference of two fractions in percentage points, signed.

    >>> points(0.9, 0.91).replace(MINUS, "-")
    '-1.00'
    """
    if value is None or base is None:
        return NONE
    difference = round(100 * (value - base), 2)
    sign = "+" if difference > 0 else MINUS if difference < 0 else PLUS_MINUS
    return f"{sign}{abs(difference):.2f}"


def flops(operations: float | None) -> str:
    """Return floating-point operations in a unit with few digits.

    >>> flops(1.234e15).replace(SPACE, " "), flops(5e5).replace(SPACE, " ")
    ('1.23 PFLOP', '0.5 MFLOP')
    """
    if operations is None:
        return NONE
    unit = max((size for size in FLOP_UNITS if operations >= size), default=min(FLOP_UNITS))
    return f"{plain(operations / unit)}{SPACE}{FLOP_UNITS[unit]}"


def listed(items: Sequence[str], last: str = "and") -> str:
    """Return items joined as in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def span(values: Sequence[float], say: Callable[[float], str]) -> str:
    """Return smallest to largest, or the value if all are equal."""
    low, high = say(min(values)), say(max(values))
    return f"{low}" if low == high else f"{low} to {high}"
