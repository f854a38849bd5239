"""Hours to come, from what has finished or was measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tools.studying.cells import Cell
from trainer.config import Run


@dataclass(slots=True)
class Forecast:
    """Predicts the wall-clock of cells.

    A cell takes as long as the runs of its arm; where none has finished, as long per unit of budget as runs
    with the same data, model and accounting; else as was measured from a few steps.

    Attributes
    ----------
    measured
        Estimates by cell, as `tools.studying.calibration` makes them.
    """

    measured: Mapping[str, float]
    _finished: list[tuple[Cell, float]] = field(default_factory=list)

    def add(self, cell: Cell, seconds: float) -> None:
        """Take in a run that has finished after ``seconds`` of wall-clock, evaluations included."""
        self._finished.append((cell, seconds))

    def seconds(self, cell: Cell) -> float | None:
        """Return the predicted seconds of a whole run; None where nothing like it is known."""
        own = [seconds for other, seconds in self._finished if other.settings == cell.settings]
        if own:
            return statistics.fmean(own)
        if cell.name in self.measured:
            return self.measured[cell.name]
        alike = [
            seconds * work(cell.run) / work(other.run)
            for other, seconds in self._finished
            if kind(other.run) == kind(cell.run)
        ]
        return statistics.fmean(alike) if alike else None

    def left(
        self, waiting: Sequence[Cell], running: Sequence[tuple[Cell, float, float]], jobs: int
    ) -> float | None:
        """Return the seconds until all is done; None where a cell's aren't known.

        Parameters
        ----------
        running
            Cells with the progress of each in [0, 1], and the seconds since it was started here.
        """
        total = 0.0
        for cell in waiting:
            predicted = self.seconds(cell)
            if predicted is None:
                return None
            total += predicted
        for cell, progress, elapsed in running:
            predicted = self.seconds(cell)
            if predicted is None:
                if progress <= 0:
                    return None
                predicted = elapsed / progress
            total += predicted * (1 - progress)
        return total / max(1, min(jobs, len(waiting) + len(running)))


def work(run: Run) -> float:
    """Return a run's budget, in epochs or in hours."""
    if run.budget_hours is not None:
        return run.budget_hours
    return run.budget * run.epochs * run.multiply


def kind(run: Run) -> tuple[str, str, str]:
    """Return what the cost of a unit of budget depends on the most."""
    return run.data, repr(run.model), run.counts if run.budget_hours is None else "hours"
