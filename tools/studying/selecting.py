"""The best of each choice's trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.reporting.folder import read_run
from tools.studying.cells import Cell, Chosen
from tools.studying.grid import Settings
from tools.studying.state import State
from trainer.errors import RunError


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a choice: the settings tried, and the last round's primary metric, None if it diverged."""

    settings: Settings
    result: float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice that was made.

    Attributes
    ----------
    key
        Its name.
    trials
        In the order of the study's file.
    best
        Index of the best one; of equal ones the first.
    """

    key: str
    trials: tuple[Trial, ...]
    best: int

    @property
    def settings(self) -> Settings:
        """The settings of the best trial."""
        return self.trials[self.best].settings


def choices(trials: Mapping[str, Sequence[Cell]], state: State) -> dict[str, Choice]:
    """Return the choices whose trials have all ended, by name.

    Raises
    ------
    RunError
        If all trials of a choice diverged.
    """
    made = {}
    for key, cells in trials.items():
        if not all(cell.finished or cell.name in state.diverged for cell in cells):
            continue
        found = [_trial(cell, state) for cell in cells]
        known = [(index, one.result) for index, one in enumerate(found) if one.result is not None]
        if not known:
            raise RunError(
                f"a choice must have a trial that comes to its end; all {len(cells)} of {key} diverged: try "
                "smaller learning rates"
            )
        higher = cells[0].run.metric.higher_is_better
        best = max(known, key=lambda one: (one[1] if higher else -one[1], -one[0]))[0]
        made[key] = Choice(key, tuple(found), best)
    return made


def _trial(cell: Cell, state: State) -> Trial:
    return Trial(cell.settings[-2], None if cell.name in state.diverged else read_run(cell.folder).result)


def chosen(made: Mapping[str, Choice]) -> Chosen:
    """Return the chosen settings by the name of the choice."""
    return {key: choice.settings for key, choice in made.items()}
