"""Values on the page of an evaluation: errors per value, predicted against true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.targets import TargetSpec
from tools.answers.values import METRICS
from tools.reporting import figures
from tools.reporting.curves import figure
from tools.reporting.document import section
from tools.reporting.markup import Safe, el
from tools.reporting.metrics import cell, heading
from tools.studying.sheets import NOTHING, Figure, Sheet, page_table
from trainer.inference.exhibits import Exhibit
from trainer.inference.value_report import ValueReport

MOST_DRAWN = 4
"""Values per image that are drawn and named."""


@dataclass(frozen=True)
class ValueExposition:
    """Values: see `tools.evaluating.protocol.Exposition`."""

    spec: TargetSpec
    wrong: str = "Largest errors"
    order: str = "By the error, of several values its Euclidean norm."

    def sections(self, report: ValueReport) -> list[Safe]:
        """Return errors per value where there are several, and predicted against true values."""
        drawn = [_against(report, at) for at in range(min(MOST_DRAWN, report.points.shape[2]))]
        said = f"{len(report.points):,} images, evenly spread over the set. Dashed: equal."
        against = section(
            "Predicted against true", el("div", drawn, class_="pair"), el("p", said, class_="note")
        )
        if self.spec.columns is None:
            return [against]
        return [section("Values", page_table(_per_value(report))), against]

    def told(self, exhibit: Exhibit) -> tuple[str, str]:
        """Return the true values of an image, and those that were answered."""
        true, answered = (
            ", ".join(f"{value:.4g}" for value in np.ravel(row)[:MOST_DRAWN])
            for row in (exhibit.target, exhibit.answers)
        )
        return true, answered


def _per_value(report: ValueReport) -> Sheet:
    columns = (report.absolute, report.root, report.r2, report.bias)
    rows = []
    for at in range(len(report.absolute)):
        found = [float(values[at]) for values in columns]
        cells = [
            NOTHING if np.isnan(value) else Figure(cell(metric, value), value)
            for metric, value in zip(METRICS, found, strict=True)
        ]
        rows.append((Figure(str(at + 1), at + 1), *cells))
    headings = ("Value", *(heading(metric) for metric in METRICS))
    return Sheet("values", "A heading sorts by its column", headings, tuple(rows))


def _against(report: ValueReport, at: int) -> Safe:
    true, answered = report.points[:, 0, at], report.points[:, 1, at]
    title = f"Value {at + 1}" if report.points.shape[2] > 1 else "Value"
    r2 = float(report.r2[at])
    told = "" if np.isnan(r2) else f", R2 {r2:.3f}"
    drawing = figures.scatter(
        f"value-{at}",
        true,
        answered,
        title=f"{title}: predicted against true",
        description=f"Points of {len(true):,} images: mean error {report.bias[at]:.4g}{told}.",
        x_label="true",
        y_label="predicted",
    )
    return figure(drawing, title)
