"""The speed-up factor of the sample-importance paper, against the tolerance in the primary metric."""

from __future__ import annotations

import numpy as np

from tools.reporting import figures
from tools.reporting.curves import figure
from tools.reporting.figures import Line
from tools.reporting.lineup import Lineup
from tools.reporting.markup import Safe, el, table
from tools.reporting.mean_curve import Curve, curve
from tools.reporting.metrics import best, cell
from tools.reporting.wording import NONE, TIMES, count, listed
from trainer.metrics import Metric

TOLERANCES = (0.0, 0.001, 0.002, 0.005, 0.01)
"""Tolerances of the table: differences of a metric in percent, of others fractions of the baseline's best.
The figure has all between the first and the last."""


def factor(baseline: Curve, other: Curve, tolerance: float) -> float | None:
    """Return the speed-up factor t_b / t_n of the sample-importance paper, equation 3.

    t_b is the step at which the baseline's mean accuracy has its maximum A_b; t_n the first step, up to t_b,
    at which the other's mean accuracy is A_b - ``tolerance`` or more. None if there is no such step. For a
    metric of which lower is better it is the minimum, and A_b + ``tolerance`` or less.
    """
    last = baseline.steps[baseline.best]
    reached = other.reaches(baseline.best_mean, tolerance) & (other.steps <= last)
    if not reached.any():
        return None
    return float(last / other.steps[int(reached.argmax())])


def speedups(lineup: Lineup) -> list[Safe] | None:
    """Speed-up factors against the first group of runs, over tolerances; None without two finished groups."""
    known = [(group, found) for group in lineup.groups if (found := curve(group)) is not None]
    if len(known) < 2 or known[0][0] is not lineup.groups[0]:
        return None
    baseline, metric = known[0][1], lineup.metric
    size = 1.0 if metric.percent else abs(baseline.best_mean)
    rows = []
    for group, own in known:
        rows.append(
            [
                group.label,
                f"{cell(metric, own.best_mean)}, round {count(float(own.rounds[own.best]))}",
                count(float(own.steps[own.best])),
                *(_say(factor(baseline, own, size * tolerance)) for tolerance in TOLERANCES),
            ]
        )
    head = [
        "Settings",
        f"{best(metric).capitalize()} mean {metric.label}",
        "At step",
        *(f"\N{GREEK SMALL LETTER EPSILON} = {100 * tolerance:g}" for tolerance in TOLERANCES),
    ]
    top, worse = ("highest", "below") if metric.higher_is_better else ("lowest", "above")
    caption = (
        f"Speed-up t_b/t_n against {known[0][0].label}: its mean {metric.label} is "
        f"{top} at step t_b; t_n is the first step up to there at which a mean is no more than "
        f"\N{GREEK SMALL LETTER EPSILON} {_unit(metric)} {worse}; {NONE} where there is none"
    )
    grid = np.linspace(TOLERANCES[0], TOLERANCES[-1], 101)
    drawn = [
        Line(
            100 * grid,
            np.array([factor(baseline, own, size * float(tolerance)) or np.nan for tolerance in grid]),
            group.entries[0].color,
        )
        for group, own in known
    ]
    rows_table = table(head, rows, caption, class_="wide")
    if not any(np.isfinite(line.y).any() for line in drawn[1:]):
        # The baseline against itself is a flat line.
        return [rows_table]
    told = [
        f"{group.label} from {_say(factor(baseline, own, size * TOLERANCES[0]))} to "
        f"{_say(factor(baseline, own, size * TOLERANCES[-1]))}"
        for group, own in known
    ]
    drawing = figures.lines(
        f"speed-up-{metric.name}",
        drawn,
        title="Speed-up factor against tolerance",
        description=f"Line plot: {listed(told)}.",
        x_label=f"tolerance, {_unit(metric)} of {metric.label}",
        y_label="speed-up t_b/t_n",
        x_end=100 * TOLERANCES[-1],
    )
    note = (
        f"A {best(metric)} over rounds is chosen on the test set: it names a point of the curve and is no "
        "result. Steps leave out what was trained or scored beside them."
    )
    return [
        rows_table,
        el(
            "div",
            figure(drawing, "Speed-up factor against tolerance", el("p", note, class_="note")),
            class_="pair",
        ),
    ]


def _unit(metric: Metric) -> str:
    return "points" if metric.percent else "percent"


def _say(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}{TIMES}"
