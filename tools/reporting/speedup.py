"""The speed-up factor of the sample-importance paper, against the tolerance in accuracy."""

from __future__ import annotations

import numpy as np

from tools.reporting import figures
from tools.reporting.curves import figure
from tools.reporting.figures import Line
from tools.reporting.lineup import Lineup
from tools.reporting.markup import Safe, el, table
from tools.reporting.mean_curve import ROUNDING, Curve, curve
from tools.reporting.wording import NONE, TIMES, count, listed, percent

TOLERANCES = (0.0, 0.001, 0.002, 0.005, 0.01)
"""Tolerances of the table, in accuracy; the figure has all between the first and the last."""


def factor(baseline: Curve, other: Curve, tolerance: float) -> float | None:
    """Speed-up factor t_b / t_n of the sample-importance paper, equation 3.

    t_b is the step at which the baseline's mean accuracy has its maximum A_b; t_n the first step, up to t_b,
    at which the other's mean accuracy is A_b - ``tolerance`` or more. None where there is no such step.
    """
    last = baseline.steps[baseline.best]
    reached = (other.mean >= baseline.highest - tolerance - ROUNDING) & (other.steps <= last)
    if not reached.any():
        return None
    return float(last / other.steps[int(reached.argmax())])


def speedups(lineup: Lineup) -> list[Safe] | None:
    """Speed-up factors against the first group of runs, over tolerances; None without two finished groups."""
    known = [(group, found) for group in lineup.groups if (found := curve(group)) is not None]
    if len(known) < 2 or known[0][0] is not lineup.groups[0]:
        return None
    baseline = known[0][1]
    rows = []
    for group, own in known:
        rows.append(
            [
                group.label,
                f"{percent(own.highest, 2)}, round {count(float(own.rounds[own.best]))}",
                count(float(own.steps[own.best])),
                *(_say(factor(baseline, own, tolerance)) for tolerance in TOLERANCES),
            ]
        )
    head = [
        "Settings",
        "Maximum mean accuracy",
        "At step",
        *(f"\N{GREEK SMALL LETTER EPSILON} = {100 * tolerance:g}" for tolerance in TOLERANCES),
    ]
    caption = (
        f"Speed-up t_b/t_n against {known[0][0].label}: its mean accuracy is highest at step t_b; t_n is the "
        "first step up to there at which a mean is no more than \N{GREEK SMALL LETTER EPSILON} points below; "
        f"{NONE} where there is none"
    )
    grid = np.linspace(TOLERANCES[0], TOLERANCES[-1], 101)
    drawn = [
        Line(
            100 * grid,
            np.array([factor(baseline, own, float(tolerance)) or np.nan for tolerance in grid]),
            group.entries[0].colour,
        )
        for group, own in known
    ]
    rows_table = table(head, rows, caption, class_="wide")
    if not any(np.isfinite(line.y).any() for line in drawn[1:]):
        # The baseline against itself is a flat line.
        return [rows_table]
    told = [
        f"{group.label} from {_say(factor(baseline, own, TOLERANCES[0]))} to "
        f"{_say(factor(baseline, own, TOLERANCES[-1]))}"
        for group, own in known
    ]
    drawing = figures.lines(
        "speed-up",
        drawn,
        title="Speed-up factor against tolerance",
        description=f"Line plot: {listed(told)}.",
        x_label="tolerance, points of accuracy",
        y_label="speed-up t_b/t_n",
        x_end=100 * TOLERANCES[-1],
    )
    note = (
        "A maximum over rounds is chosen on the test set: it names a point of the curve and is no result. "
        "Steps leave out what was trained or scored beside them."
    )
    return [
        rows_table,
        el(
            "div",
            figure(drawing, "Speed-up factor against tolerance", el("p", note, class_="note")),
            class_="pair",
        ),
    ]


def _say(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}{TIMES}"
