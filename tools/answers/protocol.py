"""Protocol of answers: how predictions are written, reports shown, and networks described."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from rich.table import Table

from pipeline.targets import TargetSpec
from tools.reporting.metrics import cell
from tools.reporting.wording import NONE
from trainer.inference.prediction import Prediction
from trainer.metrics import Metric

MOST_LISTED = 40
"""Rows of a table per class on the terminal."""


class Answers(Protocol):
    """How the answers of one network are written.

    Parameters
    ----------
    spec
        Of the targets that it was trained on.
    top
        Most probable classes to write of each image; None for the usual number.
    every
        Whether to write the probability of every class besides.
    """

    def __init__(self, spec: TargetSpec, top: int | None = None, every: bool = False) -> None: ...

    @property
    def columns(self) -> list[str]:
        """Headings of `cells`."""

    def cells(self, prediction: Prediction) -> list[str]:
        """Return a prediction's cells of a CSV."""

    def entry(self, prediction: Prediction) -> dict[str, object]:
        """Return a prediction's entries of a JSON object."""

    def figures(self, report: Any) -> list[tuple[Metric, float]]:
        """Return a report's figures for the whole set, the first the most telling; NaN where not defined."""

    def tables(self, report: Any) -> list[Table]:
        """Return a report as tables for the terminal."""

    def rows(self, report: Any) -> list[list[object]]:
        """Return a report's rows of a CSV, the headings first."""

    @property
    def tag(self) -> str | None:
        """The Hugging Face hub's name of what the network does; None where it has none."""

    @property
    def does(self) -> str:
        """Purpose of the network, to follow "A resnet18 that"."""

    @property
    def outputs(self) -> tuple[str, list[str]]:
        """Heading and paragraphs of a model card about what the outputs mean."""


def figures_table(figures: Sequence[tuple[Metric, float]]) -> Table:
    """Return the figures for a whole set as a table."""
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right", style="bold")
    for metric, value in figures:
        shown = NONE if np.isnan(value) else cell(metric, value)
        table.add_row(metric.label, f"{shown} {metric.unit}" if metric.unit == "nats" else shown)
    return table


def percent(value: float) -> str:
    """Return a fraction in percent; a dash where it isn't defined."""
    return NONE if np.isnan(value) else f"{value:.1%}"


def number(value: float) -> str:
    """Return a fraction for a CSV; empty where it isn't defined."""
    return "" if np.isnan(value) else f"{value:.6f}"


def named(names: Sequence[str], most: int = 200) -> str:
    """Return names as a sentence of Markdown."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more
