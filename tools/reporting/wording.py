"""Numbers and findings in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tools.reporting.lineup import Group, Lineup
from tools.reporting.record import RunRecord

NONE = "\N{EN DASH}"
"""What a table shows where there is no figure."""

MINUS = "\N{MINUS SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
SPACE = "\N{NO-BREAK SPACE}"

FLOP_UNITS = {1e6: "MFLOP", 1e9: "GFLOP", 1e12: "TFLOP", 1e15: "PFLOP", 1e18: "EFLOP"}


def count(value: float | None) -> str:
    """Whole number with thousands separated.

    >>> count(1800000)
    '1,800,000'
    """
    return NONE if value is None else f"{value:,.0f}"


def percent(share: float | None, digits: int = 1) -> str:
    """Share as percent, with as many digits as are asked for.

    >>> percent(0.9123), percent(0.3, 0)
    ('91.2%', '30%')
    """
    return NONE if share is None else f"{100 * share:.{digits}f}%"


def budget(share: float | None) -> str:
    """Budget as percent, without digits that say nothing.

    >>> budget(0.3), budget(0.125)
    ('30%', '12.5%')
    """
    return NONE if share is None else f"{100 * share:.4g}%"


def duration(seconds: float | None) -> str:
    """Time as one would say it.

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
    """How many times ``base`` a value is.

    >>> ratio(3.0, 2.0).replace(TIMES, "x")
    '1.50x'
    """
    if value is None or not base:
        return NONE
    return f"{value / base:.2f}{TIMES}"


def points(value: float | None, base: float | None) -> str:
    """Difference of two shares in percentage points, signed.

    >>> points(0.9, 0.91).replace(MINUS, "-")
    '-1.00'
    """
    if value is None or base is None:
        return NONE
    difference = round(100 * (value - base), 2)
    sign = "+" if difference > 0 else MINUS if difference < 0 else PLUS_MINUS
    return f"{sign}{abs(difference):.2f}"


def flops(operations: float | None) -> str:
    """Floating-point operations in a unit that leaves few digits.

    >>> flops(1.234e15).replace(SPACE, " "), flops(5e5).replace(SPACE, " ")
    ('1.23 PFLOP', '0.5 MFLOP')
    """
    if operations is None:
        return NONE
    unit = max((size for size in FLOP_UNITS if operations >= size), default=min(FLOP_UNITS))
    return f"{operations / unit:,.3g}{SPACE}{FLOP_UNITS[unit]}"


def listed(items: Sequence[str], last: str = "and") -> str:
    """Items in a row as in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def headline(run: RunRecord) -> str:
    """What one run cost and what it bought, in a sentence."""
    counted = " in compute" if run.counts == "compute" else ""
    share = f"{budget(run.number('budget'))} of the full budget{counted}"
    trained, full = run.number("trained"), run.number("full_budget_samples")
    samples = (
        f"{count(trained)} of {count(full)} samples" if full is not None else f"{count(trained)} samples"
    )
    spent = ["no step logged" if trained is None else f"{samples} trained"]
    if run.share_of_full(run.compute) is not None:
        spent.append(f"{percent(run.share_of_full(run.compute))} of the full compute")
    if run.number("train_seconds") is not None:
        spent.append(f"{duration(run.number('train_seconds'))} of training")
    if run.number("stall") is not None:
        spent.append(f"stall {percent(run.number('stall'))}")
    if not run.finished:
        got = "no accuracy yet" if run.accuracy is None else f"{percent(run.accuracy)} so far"
        return f"Unfinished, {got}, on the way to {share}: {', '.join(spent)}."
    got = "No accuracy recorded" if run.accuracy is None else percent(run.accuracy)
    return f"{got} after {share}: {', '.join(spent)}."


def comparison(lineup: Lineup) -> str:
    """What several runs bought beside each other, and for what, in a sentence."""
    runs = [entry.run for entry in lineup]
    reached = _reached(lineup)
    if reached is None:
        return f"{len(runs)} runs, none of which has been evaluated yet."
    trained = [value for run in runs if (value := run.number("trained")) is not None]
    seconds = [value for run in runs if (value := run.number("train_seconds")) is not None]
    compute = [share for run in runs if (share := run.share_of_full(run.compute)) is not None]
    cost = [f"on {span(trained, count)} trained samples"] if trained else []
    cost += [f"with {span(compute, percent)} of the full compute"] if compute else []
    cost += [f"in {span(seconds, duration)} of training"] if seconds else []
    return f"{reached}, each {' '.join(cost)}." if cost else f"{reached}."


def _reached(lineup: Lineup) -> str | None:
    """Each run's accuracy, or each group's mean over seeds; the ends of the range where these are many."""
    if lineup.repeated and all(group.mean is not None for group in lineup.groups):
        said = [(group.mean or 0.0, group.label, _spread(group)) for group in lineup.groups]
    else:
        said = [
            (accuracy, entry.label, percent(accuracy))
            for entry in lineup
            if (accuracy := entry.run.accuracy) is not None
        ]
    if not said:
        return None
    if len(said) > 4:
        (_, lowest, low), (_, highest, high) = min(said), max(said)
        return f"{len(lineup)} runs reached {low} ({lowest}) to {high} ({highest})"
    (_, first, best), *others = said
    return listed([f"{first} reached {best}", *(f"{label} {value}" for _, label, value in others)])


def _spread(group: Group) -> str:
    mean = percent(group.mean)
    if group.deviation is None:
        return mean
    return f"{mean} {PLUS_MINUS} {100 * group.deviation:.1f} over {len(group.accuracies)} seeds"


def span(values: Sequence[float], say: Callable[[float], str]) -> str:
    """Smallest to largest, or the one value that all share."""
    low, high = say(min(values)), say(max(values))
    return f"{low}" if low == high else f"{low} to {high}"
