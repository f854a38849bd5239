"""Accuracy, loss and learning rate over a run: plots, their text alternatives and their tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tools.reporting import figures
from tools.reporting.figures import Line
from tools.reporting.lineup import Entry, Lineup
from tools.reporting.markup import Child, Safe, details, el, table
from tools.reporting.record import Series
from tools.reporting.wording import NONE, count, duration, listed, percent

SAMPLE_UNITS = ((1.0, ""), (1e3, "thousands"), (1e6, "millions"), (1e9, "billions"))
TIME_UNITS = ((1.0, "seconds"), (60.0, "minutes"), (3600.0, "hours"))

MOST_ROWS = 40
"""Rows of a table of numbers; longer series are shown at so many evenly spaced lines."""

CLOCK_NOTE = "The training clock: wall-clock less evaluation, checkpoints and compilation."
LOSS_NOTE = (
    "The loss is a mean since the line before, on augmented images. It doesn't compare between "
    "augmentations, nor between samplers that prefer hard samples."
)

Say = Callable[[float], str]
Column = tuple[str, str, Say]
"""Heading of a table's column, name of the series' column, and how to say a number of it."""

EVALUATION: tuple[Column, ...] = (
    ("Trained samples", "samples", count),
    ("Training clock", "seconds", duration),
    ("Accuracy", "accuracy", lambda share: percent(share, 2)),
    ("Test loss", "loss", lambda loss: f"{loss:.4f}"),
)
STEP: tuple[Column, ...] = (
    ("Budget spent", "progress", percent),
    ("Loss", "loss", lambda loss: f"{loss:.4f}"),
    ("Learning rate", "lr", lambda rate: f"{rate:.3g}"),
    ("Images/s", "rate", count),
)


def figure(drawing: Safe, heading: str, *below: Child) -> Safe:
    """A plot under its heading, with what belongs below it."""
    return el("figure", el("figcaption", heading), drawing, *below)


def accuracy(lineup: Lineup) -> list[Safe] | None:
    """Plot accuracy against trained samples and against the training clock; None without evaluations."""
    shown = [entry for entry in lineup if len(entry.run.evaluations)]
    if not shown:
        return None
    told = listed([_rise(entry) for entry in shown])
    x_end = max(_highest(entry.run.evaluations, "samples") for entry in shown)
    # A budget of compute doesn't say how many samples it will train.
    by_samples = [entry.run for entry in shown if entry.run.counts == "trained"]
    x_end = max(x_end, *(run.number("planned") or 0.0 for run in by_samples), 0.0)
    size, of_samples = figures.unit(x_end, SAMPLE_UNITS)
    longest = max(_highest(entry.run.evaluations, "seconds") for entry in shown)
    second, of_time = figures.unit(longest, TIME_UNITS)
    against_samples = figures.lines(
        "accuracy-samples",
        [_line(entry, entry.run.evaluations, "samples", 1 / size, "accuracy", 100) for entry in shown],
        title="Accuracy against trained samples",
        description=f"Line plot: {told}.",
        x_label=f"trained samples, {of_samples}".removesuffix(", "),
        y_label="accuracy, %",
        x_end=x_end / size,
    )
    against_clock = figures.lines(
        "accuracy-clock",
        [_line(entry, entry.run.evaluations, "seconds", 1 / second, "accuracy", 100) for entry in shown],
        title="Accuracy against wall-clock",
        description=f"Line plot over the training clock: {told}.",
        x_label=f"training clock, {of_time}",
        y_label="accuracy, %",
    )
    pair = el(
        "div",
        figure(against_samples, "Accuracy against trained samples"),
        figure(against_clock, "Accuracy against wall-clock", el("p", CLOCK_NOTE, class_="note")),
        class_="pair",
    )
    series = [(entry.label, entry.run.evaluations) for entry in shown]
    return [pair, _numbers(series, "Evaluations", EVALUATION)]


def training(lineup: Lineup) -> list[Safe] | None:
    """Plot loss and learning rate against progress through the budget; None without logged steps."""
    shown = [entry for entry in lineup if len(entry.run.steps)]
    if not shown:
        return None
    series = [(entry.label, entry.run.steps) for entry in shown]
    drawn = [
        figures.lines(
            name,
            [_line(entry, entry.run.steps, "progress", 100, column, 1) for entry in shown],
            title=f"{title} against progress",
            description=f"Line plot: {listed([_fall(label, s, column) for label, s in series])}.",
            x_label="budget spent, %",
            y_label=y_label,
            from_zero=True,
            x_end=100,
        )
        for name, column, title, y_label in (
            ("loss", "loss", "Training loss", "training loss, nats"),
            ("learning-rate", "lr", "Learning rate", "learning rate"),
        )
    ]
    pair = el(
        "div",
        figure(drawn[0], "Training loss", el("p", LOSS_NOTE, class_="note")),
        figure(drawn[1], "Learning rate"),
        class_="pair",
    )
    return [pair, _numbers(series, "Logged steps", STEP)]


def _line(entry: Entry, series: Series, x: str, x_scale: float, y: str, y_scale: float) -> Line:
    return Line(x_scale * series[x], y_scale * series[y], entry.colour)


def _numbers(shown: Sequence[tuple[str, Series]], caption: str, columns: Sequence[Column]) -> Safe:
    tables = []
    for label, series in shown:
        rows = np.unique(np.linspace(0, len(series) - 1, min(len(series), MOST_ROWS)).round().astype(int))
        body = [
            [
                f"step {_say(series['step'][i], count)}",
                *(_say(series[name][i], say) for _, name, say in columns),
            ]
            for i in rows
        ]
        whose = f" of {label}" if len(shown) > 1 else ""
        some = "" if len(rows) == len(series) else f", {len(rows)} of {count(len(series))} lines"
        tables.append(table(["", *(heading for heading, _, _ in columns)], body, f"{caption}{whose}{some}"))
    return details("The numbers", *tables)


def _say(value: float, say: Say) -> str:
    return say(float(value)) if np.isfinite(value) else NONE


def _rise(entry: Entry) -> str:
    series = entry.run.evaluations
    first, last = (_say(series["accuracy"][i], percent) for i in (0, -1))
    return f"{entry.label} goes from {first} to {last} at {_say(series['samples'][-1], count)} samples"


def _fall(label: str, series: Series, name: str) -> str:
    first, last = (_say(series[name][i], lambda value: f"{value:.3g}") for i in (0, -1))
    return f"{label} goes from {first} to {last}"


def _highest(series: Series, name: str) -> float:
    column = series[name]
    return float(column[np.isfinite(column)].max(initial=0.0))
