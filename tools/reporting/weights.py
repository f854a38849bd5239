"""Class importance, agreement between seeds and settings, and sample weights by rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.reporting import figures
from tools.reporting.bars import intervals
from tools.reporting.curves import figure
from tools.reporting.importance import Weighted, mean_of_pairs, spearman
from tools.reporting.markup import Child, Safe, details, el, table
from tools.reporting.record import Samples
from tools.reporting.wording import NONE, PLUS_MINUS, listed, percent

MOST_CLASSES = 20
"""Rows of the first table of classes; if there are more, it has the most and the least important."""

BINS = 200
"""Number of ranks in the figure of weights; more samples are averaged."""


def classes(groups: Sequence[Weighted], samples: Samples, what: str = "sample weights") -> Safe:
    """Return the table of class importance, with its spread over seeds.

    Parameters
    ----------
    what
        Name of the weights, in the plural.
    """
    counts = np.bincount(samples.label)
    fair = counts / counts.sum()
    there = np.flatnonzero(counts)
    mean = np.mean([group.importances.mean(axis=0) for group in groups], axis=0)
    order = there[np.argsort(-mean[there], kind="stable")]
    end = max(float(group.importances.max()) for group in groups)
    end = max(end, float(fair.max())) * 1.05
    copied = set() if samples.copy is None else set(np.unique(samples.label[samples.copy > 0]).tolist())
    some = copied if copied != set(there.tolist()) else set()
    rows: dict[int, list[Child]] = {}
    for label in order.tolist():
        name = samples.class_name(label) + (" (multiplied)" if label in some else "")
        spread = [(group.color, *_mean_and_deviation(group, label)) for group in groups]
        written = [
            percent(middle, 2) + (f" {PLUS_MINUS} {100 * deviation:.2f}" if len(group.weights) > 1 else "")
            for (_, middle, deviation), group in zip(spread, groups, strict=True)
        ]
        drawn = [
            (color, max(0.0, middle - deviation) / end, middle / end, (middle + deviation) / end)
            for color, middle, deviation in spread
        ]
        marks = intervals(drawn, float(fair[label]) / end, f"{name}: {', '.join(written)}")
        rows[label] = [name, marks, *written]
    scale = el("span", el("span", "0"), el("span", percent(end, 1)), class_="scale")
    head: list[Child] = ["Class", scale, *(group.label for group in groups)]
    if len(groups) == 1:
        head[2:] = [""]
    said = f"Class importance: a class's part of all {what}, the most important first"
    several = any(len(group.weights) > 1 for group in groups)
    said += f"; mean {PLUS_MINUS} standard deviation over seeds" if several else ""
    said += "; the upright mark is the class's part of all samples"
    if len(order) <= MOST_CLASSES:
        return table(head, [rows[label] for label in order.tolist()], said, class_="classes")
    ends = [*order[: MOST_CLASSES // 2].tolist(), *order[-MOST_CLASSES // 2 :].tolist()]
    first = table(
        head,
        [rows[label] for label in ends],
        f"{said}; the {MOST_CLASSES // 2} most and the {MOST_CLASSES // 2} least important of {len(order)}",
        class_="classes",
    )
    every = table(head, [rows[label] for label in order.tolist()], said, class_="classes")
    return el("div", first, details(f"All {len(order)} classes", every))


def _mean_and_deviation(group: Weighted, label: int) -> tuple[float, float]:
    values = group.importances[:, label]
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0


def correlations(groups: Sequence[Weighted], what: str = "sample weights") -> Safe | None:
    """Return Spearman's correlations between seeds and between settings; None for a single run.

    ``what`` as in `classes`.
    """
    if sum(len(group.weights) for group in groups) < 2:
        return None
    single = spearman(np.concatenate([group.weights for group in groups]))
    means = spearman(np.stack([group.mean for group in groups]))
    which = np.repeat(np.arange(len(groups)), [len(group.weights) for group in groups])
    rows: list[list[Child]] = []
    for number, group in enumerate(groups):
        own = which == number
        rows.append(
            [
                group.label,
                str(len(group.weights)),
                _say(mean_of_pairs(single[np.ix_(own, own)])),
                _say(mean_of_pairs(spearman(group.importances))),
            ]
        )
        if len(groups) > 1:
            others = [NONE if i == number else _say(float(means[number, i])) for i in range(len(groups))]
            rows[-1] += others
    head: list[Child] = [
        "Settings",
        "Runs",
        f"{what[:1].upper()}{what[1:]}, between seeds",
        "Class importance, between seeds",
    ]
    if len(groups) > 1:
        head += [f"Mean {what.removeprefix('sample ')}, with {group.label}" for group in groups]
    said = "Spearman's rank correlations; between seeds, the mean over pairs of runs"
    apart = single[(which[:, None] < which[None, :]) & np.isfinite(single)]
    if len(apart):
        said += f". Between {what} of all pairs of runs with different settings it is {apart.mean():.3f}"
    return table(head, rows, said, class_="wide")


def _say(value: float | None) -> str:
    return NONE if value is None or not np.isfinite(value) else f"{value:.3f}"


def by_rank(groups: Sequence[Weighted]) -> list[Safe]:
    """Return plots of sample weights by rank of their mean over runs, one per group of runs."""
    drawn = []
    for number, group in enumerate(groups):
        order = np.argsort(group.mean, kind="stable")
        cut = np.array_split(order, min(BINS, len(order)))
        middle = np.array([group.mean[part].mean() for part in cut])
        bounds = [np.percentile(group.weights[:, part], (0, 16, 84, 100)) for part in cut]
        rank = np.cumsum([len(part) for part in cut]) - np.array([len(part) for part in cut]) / 2
        runs = len(group.weights)
        heading = "Sample weights by rank" + (f": {group.label}" if len(groups) > 1 else "")
        drawing = figures.band(
            f"weights-{number}",
            rank,
            middle,
            np.array(bounds),
            group.color,
            title=heading,
            description=(
                f"Mean weights rise from {middle[0]:.3g} to {middle[-1]:.3g} over {len(order)} samples; half "
                f"of them are below {np.median(group.mean):.3g}."
            ),
            x_label="rank of the mean weight",
            y_label="sample weight w",
        )
        note = (
            f"Line: mean over {runs} runs. Dark: 16th to 84th percentile of single runs' weights; light: all."
            if runs > 1
            else "One run."
        )
        drawn.append(figure(drawing, heading, el("p", note, class_="note")))
    return drawn


def left_out(labels: Sequence[str]) -> Safe | None:
    """Return a note on the runs whose weights are of other samples; None if there are none."""
    if not labels:
        return None
    return el("p", f"Weights of other data sets are left out: {listed(labels)}.", class_="note")
