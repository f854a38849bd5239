"""Answers of regressions: the values; mean errors and R2."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table

from pipeline.targets import TargetSpec
from tools.answers.protocol import figures_table, number
from tools.reporting.metrics import cell
from trainer.errors import RunError
from trainer.inference.prediction import Prediction
from trainer.inference.value_report import ValueReport
from trainer.metrics import Metric

METRICS = (
    Metric("mean_absolute_error", "mean absolute error", higher_is_better=False),
    Metric("root_mean_squared_error", "root mean squared error", higher_is_better=False),
    Metric("r2", "R2", higher_is_better=True),
    Metric("mean_error", "mean error (predicted less true)", higher_is_better=False),
)


@dataclass(frozen=True)
class ValueAnswers:
    """Values: see `tools.answers.protocol.Answers`."""

    spec: TargetSpec
    top: int | None = None
    every: bool = False

    def __post_init__(self) -> None:
        if self.top is not None or self.every:
            raise RunError(
                "top and probabilities are for networks of classes; this one answers with "
                f"{self.spec.words}: leave them out"
            )

    @property
    def columns(self) -> list[str]:
        """A column per value."""
        if self.spec.columns is None:
            return ["value"]
        return [f"value_{column}" for column in range(1, self.spec.columns + 1)]

    def cells(self, prediction: Prediction) -> list[str]:
        """Return the values of one image, in the precision of float32."""
        return [f"{value:.9g}" for value in prediction.values]

    def entry(self, prediction: Prediction) -> dict[str, object]:
        """Return the value of one image, or its values."""
        return {"value": prediction.values[0]} if self.spec.columns is None else {"values": prediction.values}

    def figures(self, report: ValueReport) -> list[tuple[Metric, float]]:
        """Return errors over all values, and the mean R2."""
        summary = report.summary()
        return [(metric, summary[metric.name]) for metric in METRICS]

    def tables(self, report: ValueReport) -> list[Table]:
        """Return the figures, and those per value where there are several."""
        found = [figures_table(self.figures(report))]
        if self.spec.columns is not None:
            table = Table(title="values", title_justify="left")
            for heading in ("value", *(metric.label for metric in METRICS)):
                table.add_column(heading, justify="right")
            columns = (report.absolute, report.root, report.r2, report.bias)
            for at in range(self.spec.columns):
                pairs = zip(METRICS, columns, strict=True)
                table.add_row(str(at + 1), *(cell(metric, float(values[at])) for metric, values in pairs))
            found.append(table)
        return found

    def rows(self, report: ValueReport) -> list[list[object]]:
        """Return a row per value."""
        columns = (report.absolute, report.root, report.r2, report.bias)
        rows: list[list[object]] = [["value", *(metric.name for metric in METRICS)]]
        for at in range(len(report.absolute)):
            rows.append([at + 1, *(number(float(values[at])) for values in columns)])
        return rows

    @property
    def tag(self) -> None:
        """None: the Hugging Face hub has no name for it."""
        return

    @property
    def does(self) -> str:
        """Purpose of such a network."""
        return f"predicts {self.spec.words}"

    @property
    def outputs(self) -> tuple[str, list[str]]:
        """Meaning of the outputs."""
        return "Values", [
            f"The outputs are the values themselves, {self.spec.words}, in the units of the training set."
        ]
