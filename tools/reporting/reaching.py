"""Cost at which each of several runs reached a result that all of them reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np

from tools.reporting.lineup import Group, Lineup
from tools.reporting.markup import Child, Safe, table
from tools.reporting.metrics import exact
from tools.reporting.record import RunRecord, number
from tools.reporting.verdict import beside
from tools.reporting.wording import count, duration, ratio

FIGURES: dict[str, tuple[str, Callable[[float | None], str]]] = {
    "Trained samples": ("samples", count),
    "Compute, in samples": ("compute", count),
    "Training time": ("seconds", duration),
}
"""By heading: a column of the evaluations, and the formatting of its numbers."""


def reaching(lineup: Lineup) -> Safe | None:
    """Return when each run, or the mean of its repeats, first reached the worst final result of any.

    Of several finished groups of runs of one primary metric; None where there are fewer. Time to a given
    accuracy is the measure of DAWNBench (Coleman et al. 2017); a run whose learning rate falls reaches
    most of its accuracy late.
    """
    groups = [group for group in lineup.groups if group.mean is not None]
    if len(groups) < 2:
        return None
    metric = lineup.metric
    results = [result for group in groups for result in group.results]
    target = min(results) if metric.higher_is_better else max(results)
    side, worst = ("above", "lowest") if metric.higher_is_better else ("below", "highest")
    rows: list[list[Child]] = []
    first: dict[str, float | None] = {}
    for group in groups:
        row: list[Child] = [group.label]
        for column, say in FIGURES.values():
            taken = _mean(group, column, target)
            told = ratio(taken, first.setdefault(column, taken))
            row.append(beside(say(taken), told, bool(rows)))
        rows.append(row)
    caption = (
        f"First evaluation at {exact(metric, target)} or {side}, the {worst} {metric.label} that a run ended "
        "with; "
        "means over seeds; in small, ratios against the first row"
    )
    return table(["To reach it", *FIGURES], rows, caption, class_="comparison")


def _mean(group: Group, column: str, target: float) -> float | None:
    """Return the mean of a figure over a group's runs at the target; None if a run didn't record it."""
    runs = [entry.run for entry in group.entries if entry.run.finished and entry.run.result is not None]
    figures = [first_at(run, column, target) for run in runs]
    known = [figure for figure in figures if figure is not None]
    return statistics.fmean(known) if len(known) == len(figures) else None


def first_at(run: RunRecord, column: str, target: float) -> float | None:
    """Return a column of the first evaluation that reached a target; None where there is no such number."""
    results = run.results
    reached = np.flatnonzero(results >= target if run.metric.higher_is_better else results <= target)
    return number(float(run.evaluations[column][reached[0]])) if len(reached) else None
