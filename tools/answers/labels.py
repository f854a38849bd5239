"""Answers of multi-label classifiers: the labels from a threshold on; average precision and F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.table import Table
from rich.text import Text

from pipeline.targets import TargetSpec
from tools.answers.protocol import MOST_LISTED, figures_table, named, number, percent
from trainer.errors import RunError
from trainer.inference.label_report import LabelReport
from trainer.inference.prediction import Prediction
from trainer.inference.tasks.multi_label import THRESHOLD
from trainer.metrics import PERCENT, Metric

SEPARATOR = ";"
"""Between labels in a cell of a CSV."""
_METRICS = (
    Metric("mean_average_precision", "mean average precision", higher_is_better=True, unit=PERCENT),
    Metric("micro_f1", "F1, all labels together", higher_is_better=True, unit=PERCENT),
    Metric("macro_f1", "F1, mean over labels", higher_is_better=True, unit=PERCENT),
    Metric("exact_match", "images with all labels right", higher_is_better=True, unit=PERCENT),
    Metric("loss", "loss", higher_is_better=False, unit="nats"),
    Metric("expected_calibration_error", "calibration error", higher_is_better=False, unit=PERCENT),
)


@dataclass(frozen=True)
class LabelAnswers:
    """Any number of labels, with every label's probability: see `tools.answers.protocol.Answers`."""

    spec: TargetSpec
    top: int | None = None
    every: bool = True

    def __post_init__(self) -> None:
        if self.top is not None:
            raise RunError(
                f"top is for networks of one class per image; this one's have any number of "
                f"{len(self.spec.classes):,} labels, all of whose probabilities are written: leave it out, "
                "or take another --threshold"
            )

    @property
    def columns(self) -> list[str]:
        """The labels from the threshold on, and the probability of each."""
        return ["labels", *(f"p {name}" for name in self.spec.classes)]

    def cells(self, prediction: Prediction) -> list[str]:
        """Return these of one image."""
        by_name = dict(zip(prediction.classes, prediction.probabilities, strict=True))
        return [
            SEPARATOR.join(prediction.labels or ()),
            *(f"{by_name[name]:.6g}" for name in self.spec.classes),
        ]

    def entry(self, prediction: Prediction) -> dict[str, object]:
        """Return these of one image."""
        by_name = dict(zip(prediction.classes, prediction.probabilities, strict=True))
        return {
            "labels": list(prediction.labels or ()),
            "probabilities": {name: by_name[name] for name in self.spec.classes},
        }

    def figures(self, report: LabelReport) -> list[tuple[Metric, float]]:
        """Return average precision, F1, loss and calibration error."""
        summary = report.summary()
        return [(metric, summary[metric.name]) for metric in _METRICS]

    def tables(self, report: LabelReport) -> list[Table]:
        """Return the figures, and those per label; of many labels only the worst."""
        table = Table(title=f"labels, from a probability of {report.threshold:g} on", title_justify="left")
        for heading in ("label", "images", "average precision", "precision", "recall", "F1"):
            table.add_column(heading, justify="left" if heading == "label" else "right")
        order = np.flatnonzero(report.support > 0)
        if len(order) > MOST_LISTED:
            order = order[np.argsort(report.average_precision[order], kind="stable")[:MOST_LISTED]]
            table.title = (
                f"the {MOST_LISTED} of {len(report.labels):,} labels with the least average precision"
            )
        for label in order:
            columns = (report.average_precision, report.precision, report.recall, report.f1)
            cells = [percent(values[label]) for values in columns]
            table.add_row(Text(report.labels[label]), f"{report.support[label]:,}", *cells)
        return [figures_table(self.figures(report)), table]

    def rows(self, report: LabelReport) -> list[list[object]]:
        """Return a row per label."""
        rows: list[list[object]] = [
            ["label", "images", "predicted", "average_precision", "precision", "recall", "f1"]
        ]
        columns = (report.average_precision, report.precision, report.recall, report.f1)
        for label in np.flatnonzero(report.known):
            counts = (report.support[label], report.taken[label])
            rows.append([report.labels[label], *counts, *(number(values[label]) for values in columns)])
        return rows

    @property
    def tag(self) -> str:
        """The Hugging Face hub's name of it."""
        return "image-classification"

    @property
    def does(self) -> str:
        """Purpose of such a network."""
        return f"tells which of {len(self.spec.classes):,} labels an image has, none or several"

    @property
    def outputs(self) -> tuple[str, list[str]]:
        """The labels, in order."""
        return "Labels", [
            f"In the order of the outputs, from 0: {named(self.spec.classes)}.",
            "The sigmoid of an output is the probability of its label, each by itself; an image counts as "
            f"having those from {THRESHOLD:g} on, unless another threshold serves better.",
        ]
