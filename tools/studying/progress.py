"""Progress of a study on the terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from tools.reporting.folder import read_run
from tools.reporting.metrics import exact
from tools.reporting.wording import SPACE, duration
from tools.streams import say
from tools.studying.cells import Cell
from tools.studying.forecast import Forecast
from tools.studying.jobs import DIVERGED, Ending, Running
from tools.studying.state import State

LOOKS = 1.0
"""Seconds between two changes of what is shown."""


class StudyWatcher:
    """Shows which cells run and the time left, and keeps what cells leave beside their folders.

    Attributes
    ----------
    failed
        The error by cell, of runs that neither finished nor diverged.
    """

    def __init__(self, console: Console, state: State, forecast: Forecast, total: int, done: int) -> None:
        self.failed: dict[str, str] = {}
        self._console = console
        self._state = state
        self._forecast = forecast
        self._total, self._done = total, done
        self._jobs = 1
        self._shown = 0.0
        self._waiting: Sequence[Cell] = ()
        self._running: Sequence[Running] = ()
        # Refreshed by `looked`, not by a thread of its own.
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            console=console,
            disable=not console.is_terminal,
            auto_refresh=False,
        )
        self._task = self._progress.add_task("study", total=float(total), state="")

    def close(self) -> None:
        """End the progress bar."""
        self._progress.stop()

    def started(self, cell: Cell) -> None:
        """Do nothing: the bar names the runs under way."""
        self._progress.start()

    def ended(self, cell: Cell, ending: Ending) -> None:
        """Keep a run's memory, and its error where it diverged or failed; print a line."""
        folder = cell.run.runs_dir
        if ending.peak and ending.status == 0:
            self._state.bytes[cell.name] = ending.peak
        if ending.status == 0:
            run = read_run(cell.folder)
            wall = run.number("wall_seconds")
            if wall is not None:
                self._forecast.add(cell, wall)
            said = f"{run.metric.label} {exact(run.metric, run.result)}, {duration(wall)}"
        elif ending.status == DIVERGED:
            self._state.diverged[cell.name] = ending.line
            said = f"diverged: {ending.line}"
        else:
            self.failed[cell.name] = ending.line
            say(f"note: cell {cell.name} failed: {ending.line} (all that it printed is in {cell.log})")
            return
        self._state.save(folder)
        self._done += 1
        line = f"{self._done} of {self._total}: {cell.name}: {said}{self._left(cell)}"
        self._console.print(line, soft_wrap=True, highlight=False)

    def looked(self, waiting: Sequence[Cell], running: Sequence[Running]) -> None:
        """Show the cells under way, and the time left."""
        self._waiting, self._running = list(waiting), list(running)
        self._jobs = max(self._jobs, len(running))
        now = time.monotonic()
        if now - self._shown < LOOKS or self._progress.disable:
            return
        self._shown = now
        under_way = [(run.cell, run.progress, now - run.started) for run in running]
        named = ", ".join(f"{cell.name} {progress:.0%}" for cell, progress, _ in under_way[:3])
        more = f" and {len(under_way) - 3} more" if len(under_way) > 3 else ""
        ahead = self._left().replace(", ", 2 * SPACE)
        completed = self._done + sum(progress for _, progress, _ in under_way)
        self._progress.update(self._task, completed=completed, state=f"{named}{more}{ahead}")
        self._progress.refresh()

    def _left(self, ended: Cell | None = None) -> str:
        """Return the time left, but for the run that has just ``ended``; "" where it isn't known."""
        now = time.monotonic()
        under_way = [
            (run.cell, run.progress, now - run.started) for run in self._running if run.cell is not ended
        ]
        left = self._forecast.left(self._waiting, under_way, self._jobs)
        return f", about {duration(left)} left" if left else ""
