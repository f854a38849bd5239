"""Curves of a study: means over seeds with their spread, an arm per line, a figure per block of arms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tools.reporting import figures, metrics
from tools.reporting.curves import figure
from tools.reporting.figures import Line
from tools.reporting.markup import Safe, el
from tools.reporting.mean_curve import shared
from tools.reporting.record import RunRecord
from tools.reporting.verdict import swatch
from tools.reporting.wording import listed
from tools.studying.outcome import ArmResult, Outcome

Floats = NDArray[np.float64]
Column = Callable[[RunRecord], Floats]

MOST_LINES = 8
"""Lines of one figure; a block with more has several."""

SPREAD_NOTE = "Lines are means over seeds, bands reach from the least to the greatest."


def blocks(outcome: Outcome) -> list[tuple[str, list[ArmResult]]]:
    """Return the arms of each figure with its heading: they differ on the axes of the first baseline."""
    inner = set(outcome.study.baselines[0]) if outcome.study.baselines else {outcome.study.axes[-1].name}
    outer = [axis.name for axis in outcome.study.axes if axis.name not in inner]
    found: dict[str, list[ArmResult]] = {}
    for one in outcome.arms:
        found.setdefault(", ".join(f"{name} {one.arm.labels[name]}" for name in outer), []).append(one)
    cut = []
    for heading, arms in found.items():
        for start in range(0, len(arms), MOST_LINES):
            cut.append((heading, arms[start : start + MOST_LINES]))
    return cut


def line_labels(outcome: Outcome) -> list[str]:
    """Return what lines stand for, in the order of their colors."""
    return list(dict.fromkeys(_label(outcome, one) for one in outcome.arms))


def _label(outcome: Outcome, one: ArmResult) -> str:
    inner = set(outcome.study.baselines[0]) if outcome.study.baselines else {outcome.study.axes[-1].name}
    return ", ".join(one.arm.labels[axis.name] for axis in outcome.study.axes if axis.name in inner)


def legend(outcome: Outcome) -> Safe:
    """Return the key to the lines of all figures."""
    items = [el("li", swatch(color), " ", name) for color, name in enumerate(line_labels(outcome))]
    return el("ul", items, class_="legend")


def results(outcome: Outcome) -> list[Safe]:
    """Plot the primary metric against trained samples, compute and the training clock."""
    metric = outcome.metric
    return [
        *_curves(
            outcome, "samples", "samples", "trained samples", lambda run: run.results, metrics.scale(metric)
        ),
        *_curves(
            outcome, "compute", "compute", "compute, samples", lambda run: run.results, metrics.scale(metric)
        ),
        *_curves(
            outcome,
            "clock",
            "seconds",
            "training clock, seconds",
            lambda run: run.results,
            metrics.scale(metric),
        ),
    ]


def entropies(outcome: Outcome) -> list[Safe]:
    """Plot the entropy of sample counts over training."""
    return _curves(
        outcome,
        "entropy",
        "samples",
        "trained samples",
        lambda run: run.evaluations["entropy"],
        1,
        "H(c), nats",
    )


def training_accuracy(outcome: Outcome) -> list[Safe]:
    """Plot the accuracy on the samples that were trained on, round by round."""
    return _curves(
        outcome, "training", "samples", "trained samples", trained_by_round, 100, "training accuracy, %"
    )


def trained_by_round(run: RunRecord) -> Floats:
    """Return the mean training accuracy up to each evaluation since the one before: float64[evaluations]."""
    steps, accuracy = run.steps["step"], run.steps["accuracy"]
    ends = run.evaluations["step"]
    found = np.full(len(ends), np.nan)
    for index, end in enumerate(ends):
        start = ends[index - 1] if index else -np.inf
        values = accuracy[(steps > start) & (steps <= end)]
        values = values[np.isfinite(values)]
        if len(values):
            found[index] = values.mean()
    return found


def _curves(
    outcome: Outcome,
    name: str,
    x: str,
    x_label: str,
    column: Column,
    scale: float,
    y_label: str | None = None,
) -> list[Safe]:
    """Return a figure per block; none where no run has the column."""
    colors = {label: color for color, label in enumerate(line_labels(outcome))}
    drawn = []
    for number, (heading, arms) in enumerate(blocks(outcome)):
        lines, told = [], []
        for one in arms:
            line = _line(list(one.runs.values()), x, column, colors[_label(outcome, one)], scale)
            if line is not None:
                lines.append(line)
                told.append(f"{_label(outcome, one)} ends at {line.y[-1]:.4g}")
        if not lines:
            continue
        label = metrics.axis(outcome.metric) if y_label is None else y_label
        title = f"{label.partition(',')[0]} against {x_label.partition(',')[0]}"
        drawing = figures.lines(
            f"{name}-{number}",
            lines,
            title=f"{title[:1].upper()}{title[1:]}: {heading}".removesuffix(": "),
            description=f"Line plot: {listed(told)}.",
            x_label=x_label,
            y_label=label,
        )
        drawn.append(figure(drawing, heading or title[:1].upper() + title[1:]))
    return drawn


def _line(runs: Sequence[RunRecord], x: str, column: Column, color: int, scale: float) -> Line | None:
    found = (
        shared(
            [
                np.stack([run.evaluations["round"], run.evaluations[x], column(run)])
                for run in runs
                if len(run.evaluations)
            ]
        )
        if any(len(run.evaluations) for run in runs)
        else None
    )
    if found is None:
        return None
    _, at, values = found
    low, high = (scale * values.min(axis=0), scale * values.max(axis=0)) if len(values) > 1 else (None, None)
    return Line(at.mean(axis=0), scale * values.mean(axis=0), color, low=low, high=high)
