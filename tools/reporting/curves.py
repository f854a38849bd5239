"""Metrics, loss and learning rate over a run: plots, their text alternatives and their tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle

import numpy as np

from tools.reporting import figures
from tools.reporting.figures import Line
from tools.reporting.lineup import Entry, Lineup
from tools.reporting.markup import Child, Safe, details, el, table
from tools.reporting.metrics import axis, cell, column, heading, scale, short
from tools.reporting.record import Series
from tools.reporting.wording import NONE, count, duration, listed, percent
from trainer.metrics import Metric

SAMPLE_UNITS = ((1.0, ""), (1e3, "thousands"), (1e6, "millions"), (1e9, "billions"))
TIME_UNITS = ((1.0, "seconds"), (60.0, "minutes"), (3600.0, "hours"))

COUNTED = {"trained": "samples", "compute": "compute", "hours": "seconds"}
"""Columns of the evaluations with the unit of a budget."""

MOST_ROWS = 40
"""Maximum rows of a table of numbers; longer series are shown at that many evenly spaced lines."""

CLOCK_NOTE = "The training clock: wall-clock less evaluation, checkpoints and compilation."
COMPUTE_NOTE = "Compute: every pass of training and of scoring, in samples trained at full resolution."
LOSS_NOTE = (
    "The loss is a mean since the line before, on augmented images. It doesn't compare between "
    "augmentations, nor between samplers that prefer hard samples."
)

Say = Callable[[float], str]
Column = tuple[str, str, Say]
"""Heading of a table's column, name of the series' column, and formatting of its numbers."""

EVALUATION: tuple[Column, ...] = (
    ("Trained samples", "samples", count),
    ("Compute", "compute", count),
    ("Training clock", "seconds", duration),
)
LATER: tuple[Column, ...] = (("Entropy of counts", "entropy", lambda entropy: f"{entropy:.4f}"),)
STEP: tuple[Column, ...] = (
    ("Budget spent", "progress", percent),
    ("Loss", "loss", lambda loss: f"{loss:.4f}"),
    ("Learning rate", "lr", lambda rate: f"{rate:.3g}"),
    ("Images/s", "rate", count),
)


def figure(drawing: Safe, heading: str, *below: Child) -> Safe:
    """A plot under its heading, with the content below it."""
    return el("figure", el("figcaption", heading), drawing, *below)


def results(lineup: Lineup) -> list[Safe] | None:
    """Plot the primary metric against trained samples, the training clock, and compute if that differs.

    For runs of one primary metric; None without evaluations.
    """
    shown = [entry for entry in lineup if len(entry.run.evaluations)]
    if not shown:
        return None
    samples = _against("samples", "trained samples", "trained samples", SAMPLE_UNITS, shown)
    clock = _against("seconds", "wall-clock", "training clock", TIME_UNITS, shown, CLOCK_NOTE)
    compute = None
    if any(_computes_otherwise(entry) for entry in shown):
        measured = "samples trained at full resolution"
        compute = _against("compute", "compute", measured, SAMPLE_UNITS, shown, COMPUTE_NOTE)
    drawn = el("div", samples, compute, clock, _parts(shown), class_="pair")
    return [drawn, _evaluations(shown)]


def _evaluations(shown: Sequence[Entry]) -> Safe:
    """Tabulate the evaluations, with the metrics that any of the runs measured."""
    later = [name for _, name, _ in LATER if any(_recorded(entry.run.evaluations, name) for entry in shown)]
    metrics = list(dict.fromkeys(metric for entry in shown for metric in _measured(entry)))
    columns: tuple[Column, ...] = (
        *EVALUATION,
        *((column(metric), metric.name, partial(cell, metric)) for metric in metrics),
        *(column for column in LATER if column[1] in later),
    )
    tables = []
    for entry in shown:
        run = entry.run
        lacking = {metric.name: np.full(len(run.evaluations), np.nan) for metric in metrics}
        tables.append((entry.label, Series({**lacking, **run.measured.columns, **run.evaluations.columns})))
    return _numbers(tables, "Evaluations", columns)


def _measured(entry: Entry) -> list[Metric]:
    """The metrics that a run's evaluations hold, and its primary one."""
    run = entry.run
    return [metric for metric in run.metrics if metric == run.metric or _recorded(run.measured, metric.name)]


def _recorded(series: Series, name: str) -> bool:
    return bool(np.isfinite(series[name]).any())


def _parts(shown: Sequence[Entry]) -> Safe | None:
    """Plot the primary metric and its parts, such as those of some classes; None if no run measured any."""
    whole = shown[0].run.metric
    parts = list(
        dict.fromkeys(
            metric for entry in shown for metric in _measured(entry) if metric.part_of == whole.name
        )
    )
    entries = [entry for entry in shown if set(parts) & set(_measured(entry))]
    if not parts:
        return None
    ends = [_highest(entry.run.evaluations, "samples") for entry in entries]
    size, of = figures.unit(max(ends), SAMPLE_UNITS)
    drawn, told = [], []
    for entry in entries:
        run = entry.run
        own = [part for part in parts if part in _measured(entry)]
        for metric in (whole, *own):
            x, y = run.evaluations["samples"] / size, scale(metric) * run.measured[metric.name]
            drawn.append(Line(x, y, entry.color, dash=[whole, *parts].index(metric)))
        last = [f"{_say(run.measured[part.name][-1], partial(short, part))} {part.label}" for part in own]
        told.append(f"{entry.label} ends at {listed(last)}")
    title = f"{heading(whole)} and its parts"
    drawing = figures.lines(
        f"{whole.name}-parts",
        drawn,
        title=title,
        description=f"Line plot over trained samples: {listed(told)}.",
        x_label=f"trained samples, {of}".removesuffix(", "),
        y_label=axis(whole),
        x_end=max(ends) / size,
    )
    looks = [f"{look}: {part.label}" for look, part in zip(cycle(("dashed", "dotted")), parts, strict=False)]
    note = f"Solid: {whole.label}; {'; '.join(looks)}."
    return figure(drawing, title, el("p", note, class_="note"))


def _against(
    column: str,
    against: str,
    measured: str,
    units: Sequence[tuple[float, str]],
    shown: Sequence[Entry],
    note: str | None = None,
) -> Safe:
    """Plot the primary metric against a column of the evaluations, up to a budget in its unit."""
    metric = shown[0].run.metric
    title = f"{heading(metric)} against {against}"
    ends = [_highest(entry.run.evaluations, column) for entry in shown]
    ends += [entry.run.number("planned") or 0.0 for entry in shown if COUNTED.get(entry.run.counts) == column]
    size, of = figures.unit(max(ends), units)
    drawing = figures.lines(
        f"{metric.name}-{column}",
        [
            Line(entry.run.evaluations[column] / size, scale(metric) * entry.run.results, entry.color)
            for entry in shown
        ],
        title=title,
        description=f"Line plot over {measured}: {listed([_rise(entry) for entry in shown])}.",
        x_label=f"{measured}, {of}".removesuffix(", "),
        y_label=axis(metric),
        x_end=max(ends) / size,
    )
    return figure(drawing, title, el("p", note, class_="note") if note else None)


def _computes_otherwise(entry: Entry) -> bool:
    """Whether a run's compute differs from the number of its trained samples."""
    compute, samples = (entry.run.evaluations[name] for name in ("compute", "samples"))
    known = np.isfinite(compute) & np.isfinite(samples)
    return not np.allclose(compute[known], samples[known], rtol=1e-3)


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


def variety(lineup: Lineup) -> Safe | None:
    """Plot the entropy of sample counts over training; None if no run recorded it.

    As Arazo et al. 2021, figure 1 (c) and (d).
    """
    shown = [entry for entry in lineup if np.isfinite(entry.run.evaluations["entropy"]).any()]
    if not shown:
        return None
    told = [_fall(entry.label, entry.run.evaluations, "entropy") for entry in shown]
    drawing = figures.lines(
        "entropy",
        [_line(entry, entry.run.evaluations, "progress", 100, "entropy", 1) for entry in shown],
        title="Entropy of sample counts over training",
        description=f"Line plot: {listed(told)}.",
        x_label="budget spent, %",
        y_label="H(c), nats",
        x_end=100,
    )
    note = "Of the counts of how often each sample was trained on so far; log N where all are equal."
    return figure(drawing, "Entropy of sample counts over training", el("p", note, class_="note"))


def _line(entry: Entry, series: Series, x: str, x_scale: float, y: str, y_scale: float) -> Line:
    return Line(x_scale * series[x], y_scale * series[y], entry.color)


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
    run = entry.run
    first, last = (_say(run.results[i], partial(short, run.metric)) for i in (0, -1))
    return (
        f"{entry.label} goes from {first} to {last} at {_say(run.evaluations['samples'][-1], count)} samples"
    )


def _fall(label: str, series: Series, name: str) -> str:
    first, last = (_say(series[name][i], lambda value: f"{value:.3g}") for i in (0, -1))
    return f"{label} goes from {first} to {last}"


def _highest(series: Series, name: str) -> float:
    column = series[name]
    return float(column[np.isfinite(column)].max(initial=0.0))
