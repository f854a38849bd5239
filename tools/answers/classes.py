"""Answers of classifiers: the most probable classes; accuracies and confusions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.table import Table
from rich.text import Text

from pipeline.targets import TargetSpec
from tools.answers.protocol import MOST_LISTED, figures_table, named, number, percent
from trainer.errors import RunError
from trainer.inference.class_report import ClassReport
from trainer.inference.prediction import Prediction
from trainer.metrics import PERCENT, Metric

_MOST_COLUMNS = 12
_MOST_PAIRS = 10
_METRICS = (
    Metric("accuracy", "accuracy", higher_is_better=True, unit=PERCENT),
    Metric("top5_accuracy", "top-5 accuracy", higher_is_better=True, unit=PERCENT),
    Metric("balanced_accuracy", "mean accuracy over classes", higher_is_better=True, unit=PERCENT),
    Metric("macro_f1", "F1, mean over classes", higher_is_better=True, unit=PERCENT),
    Metric("loss", "loss", higher_is_better=False, unit="nats"),
    Metric("expected_calibration_error", "calibration error", higher_is_better=False, unit=PERCENT),
)


@dataclass(frozen=True)
class ClassAnswers:
    """Classes: see `tools.answers.protocol.Answers`."""

    spec: TargetSpec
    top: int | None = None
    every: bool = False

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise RunError(f"top must be at least 1 class; got {self.top}")

    @property
    def _count(self) -> int:
        return min(self.top or 1, len(self.spec.classes))

    @property
    def columns(self) -> list[str]:
        """Class and probability of each rank, and of every class where asked for."""
        ranks = ["", *(f"_{rank}" for rank in range(2, self._count + 1))]
        every = [f"p {name}" for name in self.spec.classes] if self.every else []
        return [name + rank for rank in ranks for name in ("class", "probability")] + every

    def cells(self, prediction: Prediction) -> list[str]:
        """Return these of one image."""
        likely = zip(prediction.classes[: self._count], prediction.probabilities, strict=False)
        cells = [cell for name, p in likely for cell in (name, f"{p:.6g}")]
        by_name = dict(zip(prediction.classes, prediction.probabilities, strict=True))
        return cells + ([f"{by_name[name]:.6g}" for name in self.spec.classes] if self.every else [])

    def entry(self, prediction: Prediction) -> dict[str, object]:
        """Return the most probable classes, and all where asked for."""
        likely = zip(prediction.classes[: self._count], prediction.probabilities, strict=False)
        entry: dict[str, object] = {"predictions": [{"class": name, "probability": p} for name, p in likely]}
        if self.every:
            by_name = dict(zip(prediction.classes, prediction.probabilities, strict=True))
            entry["probabilities"] = {name: by_name[name] for name in self.spec.classes}
        return entry

    def figures(self, report: ClassReport) -> list[tuple[Metric, float]]:
        """Return accuracies, F1, loss and calibration error."""
        shown = [metric for metric in _METRICS if metric.name != "top5_accuracy" or len(report.classes) > 5]
        summary = report.summary()
        return [(metric, summary[metric.name]) for metric in shown]

    def tables(self, report: ClassReport) -> list[Table]:
        """Return the figures, those per class, and confusions."""
        found = [figures_table(self.figures(report)), per_class(report), confusions(report)]
        return [table for table in found if table is not None]

    def rows(self, report: ClassReport) -> list[list[object]]:
        """Return a row per class: its figures, and how many of its images were taken for each class."""
        taken = [f"predicted {name}" for name in report.classes]
        rows: list[list[object]] = [["class", "images", "precision", "recall", "f1", *taken]]
        for label, name in enumerate(report.classes):
            fractions = (report.precision[label], report.recall[label], report.f1[label])
            rows.append(
                [name, report.support[label], *map(number, fractions), *report.confusion[label].tolist()]
            )
        return rows

    @property
    def tag(self) -> str:
        """The Hugging Face hub's name of it."""
        return "image-classification"

    @property
    def does(self) -> str:
        """Purpose of such a network."""
        return f"tells {len(self.spec.classes):,} classes of images apart"

    @property
    def outputs(self) -> tuple[str, list[str]]:
        """The classes, in order."""
        return "Classes", [
            f"In the order of the outputs, from 0: {named(self.spec.classes)}.",
            "It answers with one of these whatever an image shows, and its probabilities are those of images "
            "like the ones it was trained on.",
        ]


def per_class(report: ClassReport) -> Table:
    """Return precision, recall and F1 of each class as a table; of many only the worst."""
    table = Table(title="classes", title_justify="left")
    for heading in ("class", "images", "precision", "recall", "F1"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    order = np.flatnonzero(report.support > 0)
    if len(order) > MOST_LISTED:
        order = order[np.argsort(np.nan_to_num(report.f1[order]), kind="stable")[:MOST_LISTED]]
        table.title = f"the {MOST_LISTED} of {len(report.classes):,} classes with the lowest F1"
    for label in order:
        columns = (report.precision[label], report.recall[label], report.f1[label])
        table.add_row(Text(report.classes[label]), f"{report.support[label]:,}", *map(percent, columns))
    return table


def confusions(report: ClassReport) -> Table | None:
    """Return the confusion matrix as a table, or of many classes the pairs that are confused most often."""
    if len(report.classes) <= _MOST_COLUMNS:
        table = Table(title="confusion matrix (rows: true class)", title_justify="left")
        table.add_column()
        for number, name in enumerate(report.classes):
            table.add_column(Text(name if len(report.classes) <= 6 else str(number)), justify="right")
        for number, (name, row) in enumerate(zip(report.classes, report.confusion.tolist(), strict=True)):
            cells = [
                Text(f"{count:,}" if count else "·", style="bold" if column == number else "")
                for column, count in enumerate(row)
            ]
            table.add_row(Text(name if len(report.classes) <= 6 else f"{number} {name}"), *cells)
        return table
    pairs = report.confused(_MOST_PAIRS)
    if not pairs:
        return None
    table = Table(title="confused most often", title_justify="left")
    for heading in ("class", "predicted", "images", "of the class"):
        table.add_column(heading, justify="left" if heading in ("class", "predicted") else "right")
    for true, guess, count in pairs:
        part = f"{count / report.support[true]:.1%}"
        table.add_row(Text(report.classes[true]), Text(report.classes[guess]), f"{count:,}", part)
    return table
