"""Results that a paper printed for arms of a study, to stand beside its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.studying.grid import Arm, Axis, read_matcher
from trainer.errors import RunError

KEYS = ("source", "runs", "results")
OWN = ("mean", "sd")
"""Keys of a row of results that aren't axes."""


@dataclass(frozen=True, slots=True)
class Printed:
    """A result as a paper prints it: of a metric in percent in percent.

    Attributes
    ----------
    mean
        Over its runs.
    deviation
        Standard deviation over its runs; None where it isn't printed.
    """

    mean: float
    deviation: float | None


@dataclass(frozen=True, slots=True)
class Published:
    """``[published]``: printed results of a study's arms.

    Attributes
    ----------
    source
        Paper and tables.
    runs
        Runs behind each result; None where that isn't printed.
    """

    source: str
    runs: int | None
    _results: Mapping[frozenset[tuple[str, str]], Printed]

    def of(self, arm: Arm) -> Printed | None:
        """Return an arm's printed result; None if there is none."""
        return self._results.get(frozenset(arm.labels.items()))

    def uncertainty(self, one: Printed, other: Printed) -> float | None:
        """Return twice the standard error of the difference of two results; None where it can't be known."""
        if self.runs is None or one.deviation is None or other.deviation is None:
            return None
        return 2 * math.hypot(one.deviation, other.deviation) / math.sqrt(self.runs)


def read_published(table: Any, axes: Sequence[Axis], made: Sequence[Arm], where: str) -> Published:
    """Read ``[published]``.

    A row of ``results`` has a label for each axis of several, a ``mean``, and perhaps an ``sd``. One of the
    axes may have a list of labels: then ``mean`` and ``sd`` are lists of that length.

    Raises
    ------
    RunError
        If a row names an unknown axis or label, no arm, or one that another row names; or if its numbers
        aren't numbers, or not as many as labels.
    """
    if not isinstance(table, Mapping) or not isinstance(table.get("results"), list):
        raise RunError(
            f"{where} must have source and results, as results = [{{ {axes[0].name} = ..., mean = 93.5 }}]; "
            f"got {table!r}"
        )
    for key in table:
        if key not in KEYS:
            raise RunError(f"{where}: a key must be one of {', '.join(KEYS)}; got {key!r}")
    source, runs = table.get("source"), table.get("runs")
    if not isinstance(source, str) or not source:
        raise RunError(f"{where}: source must name the paper and its tables; got {source!r}")
    if runs is not None and (not isinstance(runs, int) or isinstance(runs, bool) or runs < 1):
        raise RunError(f"{where}: runs must be a whole number of at least 1; got {runs!r}")
    known = {frozenset(arm.labels.items()) for arm in made}
    found: dict[frozenset[tuple[str, str]], Printed] = {}
    for row in table["results"]:
        for labels, printed in _row(row, axes, where):
            key = frozenset(labels.items())
            named = ", ".join(f"{axis} {label}" for axis, label in labels.items())
            if key not in known:
                raise RunError(f"{where} must be of a cell; there is none with {named}: leave it out")
            if key in found:
                raise RunError(f"{where} must have one result per cell; got two for {named}: leave one out")
            found[key] = printed
    return Published(source, runs, found)


def _row(row: Any, axes: Sequence[Axis], where: str) -> Iterator[tuple[dict[str, str], Printed]]:
    """Yield the labels and the result of each arm that a row is about."""
    if not isinstance(row, Mapping) or "mean" not in row:
        raise RunError(f"{where}: a row must have labels and a mean; got {row!r}")
    matcher = read_matcher({key: value for key, value in row.items() if key not in OWN}, axes, where)
    # An axis of one label needn't be named.
    only = {axis.name: tuple(axis.values) for axis in axes if len(axis.values) == 1}
    matcher = {**only, **matcher}
    missing = next((axis.name for axis in axes if axis.name not in matcher), None)
    if missing is not None:
        raise RunError(
            f"{where}: a row must have a label of each axis; got none of {missing} in {dict(row)!r}"
        )
    listed = [axis for axis, labels in matcher.items() if len(labels) > 1]
    if len(listed) > 1:
        raise RunError(f"{where}: one axis of a row may have several labels; got {' and '.join(listed)}")
    many = len(matcher[listed[0]]) if listed else 1
    means = _numbers(row["mean"], many, f"{where}: mean")
    deviations: Sequence[float | None] = (
        _numbers(row["sd"], many, f"{where}: sd") if "sd" in row else [None] * many
    )
    for place, (mean, deviation) in enumerate(zip(means, deviations, strict=True)):
        labels = {axis.name: matcher[axis.name][place if axis.name in listed else 0] for axis in axes}
        yield labels, Printed(mean, deviation)


def _numbers(value: Any, many: int, where: str) -> list[float]:
    listed = value if isinstance(value, list) else [value]
    if len(listed) != many:
        raise RunError(f"{where} must have as many numbers as the row has labels, {many}; got {len(listed)}")
    for one in listed:
        if isinstance(one, bool) or not isinstance(one, int | float) or not math.isfinite(one):
            raise RunError(f"{where} must be a number, in percent where the metric is; got {one!r}")
    return [float(one) for one in listed]
