"""Reliability diagrams: how often a network is right, against how sure it says it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tools.reporting import figures
from tools.reporting.curves import figure
from tools.reporting.document import section
from tools.reporting.figures import Line
from tools.reporting.markup import Safe, details, el, table
from tools.reporting.wording import NONE, percent
from trainer.inference.class_report import BINS, ratio


def calibration(bins: NDArray[np.float64], error: float, stated: str, found: str) -> Safe:
    """Return the diagram, and its table.

    Parameters
    ----------
    bins
        float64[3, 15]: counts, sums of what was stated, sums of what was found, as reports have them.
    error
        The expected calibration error.
    stated, found
        Names of the two: confidence and accuracy.
    """
    counts, claimed, right = bins
    filled = counts > 0
    x, y = ratio(claimed, counts)[filled], ratio(right, counts)[filled]
    diagonal = np.linspace(0, 100, 40)
    over = float((claimed - right).sum() / max(1.0, counts.sum()))
    verdict = "is as high as" if abs(over) < 0.005 else "is higher than" if over > 0 else "is lower than"
    said = (
        f"The {stated} {verdict} the {found} on average"
        + (f", by {percent(abs(over))}" if abs(over) >= 0.005 else "")
        + f"; the expected calibration error is {percent(error)}."
    )
    drawing = figures.lines(
        "calibration",
        [Line(diagonal, diagonal, 3, dash=2), Line(100 * x, 100 * y, 0)],
        title="Calibration",
        description=f"{said} {_told(x, y, stated, found)}",
        x_label=f"{stated}, %",
        y_label=f"{found}, %",
        from_zero=True,
        x_end=100,
    )
    told = (
        f"{said} Dotted: equal, as of a network that is calibrated. Points are means over {BINS} intervals."
    )
    note = el("p", told, class_="note")
    rows = [
        [f"{percent(at / BINS, 0)} to {percent((at + 1) / BINS, 0)}", f"{counts[at]:,.0f}", *_means(bins, at)]
        for at in range(BINS)
    ]
    head = [f"{stated.capitalize()}", "Count", f"Mean {stated}", f"{found.capitalize()}"]
    numbers = table(head, rows, f"{found.capitalize()} by {stated}")
    title = f"{found.capitalize()} against {stated}"
    return section(
        "Calibration", el("div", figure(drawing, title, note), class_="pair"), details("Numbers", numbers)
    )


def _means(bins: NDArray[np.float64], at: int) -> list[str]:
    count, *sums = bins[:, at]
    return [percent(one / count) if count else NONE for one in sums]


def _told(x: Sequence[float] | NDArray[np.float64], y: NDArray[np.float64], stated: str, found: str) -> str:
    if not len(x):
        return "There are no images."
    return (
        f"From {percent(y[0])} {found} at {percent(x[0])} {stated} to {percent(y[-1])} at {percent(x[-1])}."
    )
