"""Classes on the page of an evaluation: figures per class, confusions, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.targets import TargetSpec
from tools.evaluating.calibration import calibration
from tools.evaluating.matrix import confused_pairs, confusion_matrix
from tools.evaluating.protocol import MOST_ROWS, counted, each, fraction
from tools.reporting.markup import Safe
from tools.studying.sheets import Sheet, words
from trainer.inference.class_report import ClassReport
from trainer.inference.exhibits import Exhibit


@dataclass(frozen=True)
class ClassExposition:
    """Classes: see `tools.evaluating.protocol.Exposition`."""

    spec: TargetSpec
    wrong: str = "Most confidently wrong"
    order: str = "By the probability of the wrong class."

    def sections(self, report: ClassReport) -> list[Safe]:
        """Return figures per class, confusions and calibration."""
        found = [
            each("Classes", _per_class(report)),
            confusion_matrix(report),
            confused_pairs(report),
            calibration(report.bins, report.calibration_error, "confidence", "accuracy"),
        ]
        return [one for one in found if one is not None]

    def told(self, exhibit: Exhibit) -> tuple[str, str]:
        """Return the true class and the one that was answered, with their probabilities."""
        p = np.exp(exhibit.answers)
        true, answered = (
            f"{self.spec.classes[label]} {p[label]:.1%}" for label in (int(exhibit.target), int(p.argmax()))
        )
        return true, answered


def _per_class(report: ClassReport) -> Sheet:
    order = np.flatnonzero(report.support + report.confusion.sum(axis=0) > 0)
    caption = "A heading sorts by its column"
    if len(order) > MOST_ROWS:
        order = order[np.argsort(np.nan_to_num(report.f1[order]), kind="stable")[:MOST_ROWS]]
        caption += f"; of {len(report.classes):,} classes the {MOST_ROWS:,} with the lowest F1"
    columns = (report.precision, report.recall, report.f1)
    rows = [
        (
            words(report.classes[label]),
            counted(report.support[label]),
            *(fraction(values[label]) for values in columns),
        )
        for label in order.tolist()
    ]
    return Sheet("classes", caption, ("Class", "Images", "Precision", "Recall", "F1"), tuple(rows))
