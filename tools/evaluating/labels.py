"""Any number of labels on the page of an evaluation: figures per label, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.targets import TargetSpec
from tools.evaluating.calibration import calibration
from tools.evaluating.protocol import MOST_ROWS, counted, each, fraction
from tools.reporting.markup import Safe
from tools.studying.sheets import Sheet, words
from trainer.inference.exhibits import Exhibit
from trainer.inference.label_report import LabelReport

_MOST_NAMED = 3
"""Labels that are named below an image."""


@dataclass(frozen=True)
class LabelExposition:
    """Labels: see `tools.evaluating.protocol.Exposition`."""

    spec: TargetSpec
    wrong: str = "Most confidently wrong"
    order: str = (
        "By the largest distance of a wrong label's probability from what is true; the labels that are "
        "furthest from it are named."
    )

    def sections(self, report: LabelReport) -> list[Safe]:
        """Return figures per label, and calibration."""
        return [
            each("Labels", _per_label(report)),
            calibration(report.bins, report.calibration_error, "probability", "frequency"),
        ]

    def told(self, exhibit: Exhibit) -> tuple[str, str]:
        """Return an image's labels, and the probabilities that are furthest from what is true."""
        p = 1 / (1 + np.exp(-exhibit.answers.astype(np.float64)))
        furthest = np.argsort(-np.abs(p - exhibit.target), kind="stable")[:_MOST_NAMED]
        true = [self.spec.classes[label] for label in np.flatnonzero(exhibit.target)]
        answered = [f"{self.spec.classes[label]} {p[label]:.1%}" for label in furthest]
        return ", ".join(true) or "no label", ", ".join(answered)


def _per_label(report: LabelReport) -> Sheet:
    order = np.flatnonzero(report.known)
    caption = f"From a probability of {report.threshold:g} on; a heading sorts by its column"
    if len(order) > MOST_ROWS:
        precision = np.nan_to_num(report.average_precision[order])
        order = order[np.argsort(precision, kind="stable")[:MOST_ROWS]]
        caption += f"; of {len(report.labels):,} labels the {MOST_ROWS:,} with the least average precision"
    columns = (report.average_precision, report.precision, report.recall, report.f1)
    rows = [
        (
            words(report.labels[label]),
            counted(report.support[label]),
            counted(report.taken[label]),
            *(fraction(values[label]) for values in columns),
        )
        for label in order.tolist()
    ]
    headings = ("Label", "Images", "Answered", "Average precision", "Precision", "Recall", "F1")
    return Sheet("labels", caption, headings, tuple(rows))
