"""Protocol of expositions: a report of `trainer evaluate` as sections of a page."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from pipeline.targets import TargetSpec
from tools.reporting.document import section
from tools.reporting.markup import Child, Safe, details
from tools.studying.sheets import NOTHING, Figure, Sheet, page_table
from trainer.inference.exhibits import Exhibit

MOST_ROWS = 1_000
"""Rows of a table per class."""


MOST_OPEN = 40
"""Rows of a table that isn't folded away."""


class Exposition(Protocol):
    """How a page shows the answers of one network.

    Parameters
    ----------
    spec
        Of the targets that it was trained on.
    """

    def __init__(self, spec: TargetSpec) -> None: ...

    @property
    def wrong(self) -> str:
        """Heading of the most wrongly answered images."""

    @property
    def order(self) -> str:
        """Their order, in a sentence."""

    def sections(self, report: Any) -> list[Safe]:
        """Return a report, without its figures for the whole set."""

    def told(self, exhibit: Exhibit) -> tuple[str, str]:
        """Return what is true of a wrongly answered image, and what was answered."""


def each(heading: str, sheet: Sheet) -> Safe:
    """Return the section of a table per class or label, folded away where it is long."""
    shown: Child = page_table(sheet)
    if len(sheet.rows) > MOST_OPEN:
        shown = details(f"{len(sheet.rows):,} rows", shown)
    return section(heading, shown)


def fraction(value: float) -> Figure:
    """Return a cell of a fraction in percent; a dash where it isn't defined."""
    return NOTHING if np.isnan(value) else Figure(f"{value:.1%}", float(value))


def counted(value: int) -> Figure:
    """Return a cell of a count."""
    return Figure(f"{value:,}", int(value))
