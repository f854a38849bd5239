"""``trainer study``: a grid of runs, and the tables and the page that they amount to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from pipeline.errors import UnwritableError
from tools.progress import TerminalWatcher
from tools.reporting.folder import read_run
from tools.reporting.wording import duration
from tools.streams import say
from tools.studying import room
from tools.studying.calibration import calibrate
from tools.studying.cells import Cell, Place, check_data, check_unchanged, final_cells, trial_cells
from tools.studying.definition import PROGRAMS, read_study
from tools.studying.definition import Study as Definition
from tools.studying.forecast import Forecast
from tools.studying.jobs import Queue
from tools.studying.progress import StudyWatcher
from tools.studying.publish import publish
from tools.studying.records import overrides, shared
from tools.studying.selecting import choices, chosen
from tools.studying.sheets import Figure, Sheet, terminal, words
from tools.studying.state import State, added, dropped, load_state
from trainer.errors import InterruptedRunError, RunError
from trainer.interrupt import Stop, stop_on_signal
from trainer.settings import comparison


@dataclass(frozen=True)
class Study:
    """Run a grid of settings over seeds, and write its tables and its page.

    STUDY is a .toml, or the name of one that comes along (headline_cpu, spirals). Each cell is a run folder,
    named by its labels and its seed. What is done is skipped, and a study that was stopped or killed resumes
    with the same command. Tables are written as Markdown, CSV and LaTeX, and a page as HTML, whenever the
    command ends. tools/studies/README.md has the protocol and the keys of the file.
    """

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY")]
    """The study's file or name."""

    jobs: int = 1
    """Runs side by side; cores and GPUs are shared out among them, and a run waits until its memory is
    free."""

    dry_run: bool = False
    """Show the cells and the hours that they will take, by a few steps of each arm that hasn't run yet; run
    nothing."""

    tables: bool = False
    """Run nothing; write the tables and the page of what is done."""

    only: tuple[str, ...] = ()
    """Names of arms or cells to run, as the tables have them; the others are left as they are."""

    out: Path | None = None
    """Folder for the tables and the page, by default that of the study's runs."""

    runs_dir: Path = Path("runs")
    """Where the folder of the study's runs is made."""

    data_dir: Path | None = None
    """Where data sets live; by default the environment variable BUDGETRAIN_DATA, or ./data."""

    def execute(self, console: Console) -> int:
        """Run what is left of the study, write its tables and print the first of them.

        Raises
        ------
        RunError
            If the study's file, the folders of its runs, its data, or --jobs don't fit; before any run.
        InterruptedRunError
            If a signal stopped it; its runs have saved checkpoints.
        """
        if self.study in PROGRAMS:
            return self._program(console)
        study = read_study(self.study)
        place = Place(self.runs_dir, self.data_dir)
        folder = place.folder(study)
        trials = trial_cells(study, place)
        tried = [cell for cells in trials.values() for cell in cells]
        state = load_state(study, folder)
        # Before any choice is made, to refuse what can't be run before hours are spent on trials.
        cells = final_cells(study, place, {})
        check_unchanged(tried)
        made = choices(trials, state)
        if len(made) == len(trials):
            cells = final_cells(study, place, chosen(made))
            check_unchanged(cells)
        check_data(cells, tried, now=not self.tables)
        self._check_only(cells)
        slots = self._slots([*tried, *cells])
        if self.dry_run:
            return self._forecast(study, [*tried, *cells], state, console)
        failed: dict[str, str] = {}
        stopped: InterruptedRunError | None = None
        if not self.tables:
            if state.peak is not None:
                room.check_memory(self.jobs, state.peak)
            self._make_data(study, cells, console)
            try:
                with stop_on_signal() as stop, stop.patiently():
                    failed |= self._run(tried, slots, state, console, stop)
                    made = choices(trials, state)
                    if len(made) == len(trials):
                        cells = final_cells(study, place, chosen(made))
                        check_unchanged(cells)
                        failed |= self._run(self._chosen_cells(cells), slots, state, console, stop)
            except InterruptedRunError as error:
                stopped = error
            check_data(cells, tried, now=True)
        for name in added(state, study):
            say(f"note: {name} was added to {study.path.name} after the first run")
        for name in dropped(state, study):
            say(f"note: {name} was taken out of {study.path.name} after the first run; its folders stay")
        try:
            publish(study, cells, made, state, self.out or folder, console)
        except UnwritableError as error:
            if self.out is not None or not self.tables:
                raise
            # Studies on a read-only disk are shown all the same.
            say(f"note: {error}: --out FOLDER writes the tables elsewhere")
        if stopped is not None:
            raise stopped
        if failed:
            one, *others = failed.items()
            more = f"; and {len(others)} more" if others else ""
            raise RunError(f"{one[0]}: {one[1]}{more}: the same command tries them again")
        return 0

    def _program(self, console: Console) -> int:
        """Run a study that is no grid of runs."""
        given = [
            f"--{name.replace('_', '-')}"
            for name in ("jobs", "dry_run", "tables", "only", "data_dir")
            if getattr(self, name) != getattr(type(self), name)
        ]
        if given:
            raise RunError(
                f"study {self.study} is no grid of runs and takes --out and --runs-dir alone; got "
                f"{given[0]}: leave it out"
            )
        run: Callable[[Path, Console], object] = import_module(PROGRAMS[self.study]).run
        run(self.out or self.runs_dir / self.study, console)
        return 0

    def _chosen_cells(self, cells: Sequence[Cell]) -> list[Cell]:
        return [cell for cell in cells if not self.only or {cell.name, cell.arm.name} & set(self.only)]

    def _check_only(self, cells: Sequence[Cell]) -> None:
        for name in self.only:
            if not any(name in (cell.name, cell.arm.name) for cell in cells):
                known = ", ".join(dict.fromkeys(cell.arm.name for cell in cells))
                raise RunError(f"--only must name arms or cells, arms being {known}; got {name!r}")

    def _slots(self, cells: Sequence[Cell]) -> list[room.Slot]:
        runs = [cell.run for cell in cells]
        return room.slots(self.jobs, [run.device for run in runs], max(run.threads or 1 for run in runs))

    def _make_data(self, study: Definition, cells: Sequence[Cell], console: Console) -> None:
        with TerminalWatcher(console) as watcher:
            for subset in study.subsets.values():
                subset.make(cells[0].run, watcher.converting)

    def _run(
        self, cells: Sequence[Cell], slots: Sequence[room.Slot], state: State, console: Console, stop: Stop
    ) -> dict[str, str]:
        """Run those of the cells that have not ended; return the errors of those that failed, by cell."""
        forecast = _forecast(cells, {})
        left = [cell for cell in cells if not cell.finished and cell.name not in state.diverged]
        if not left:
            return {}
        state.save(left[0].run.runs_dir)
        watcher = StudyWatcher(console, state, forecast, len(cells), len(cells) - len(left))
        queue = Queue(left, slots, watcher, lambda: state.peak)
        try:
            queue.run(stop)
        finally:
            watcher.close()
        if stop.asked:
            done = sum(cell.finished for cell in cells)
            raise InterruptedRunError(
                f"stopped by {stop.by} with {done} of {len(cells)} runs finished; the same command goes on"
            )
        held = {name: f"{process} trains in its folder: wait for it" for name, process in queue.held.items()}
        return {**watcher.failed, **held}

    def _forecast(self, study: Definition, cells: Sequence[Cell], state: State, console: Console) -> int:
        """Print the cells and the hours that they will take."""
        self._make_data(study, cells, console)
        slot = self._slots(cells)[0]
        measured: dict[str, float] = {}
        forecast = _forecast(cells, measured)
        peaks = [] if state.peak is None else [state.peak]
        rows = []
        total = 0.0
        for cell in cells:
            ended = cell.finished or cell.name in state.diverged
            if not ended and not any(other.settings == cell.settings and other.finished for other in cells):
                alike = next(
                    (other for other in cells if other.name in measured and _alike(other, cell)), None
                )
                if alike is None:
                    found = calibrate(cell, slot)
                    peaks.append(found.peak)
                measured[cell.name] = found.seconds if alike is None else measured[alike.name]
            seconds = forecast.seconds(cell)
            total += 0.0 if ended or seconds is None else seconds
            rows.append(
                (
                    words(cell.name),
                    words(overrides(cell, study)),
                    words(comparison.digest(cell.run)[:12]),
                    words("done" if ended else "to come"),
                    Figure(duration(None if ended else seconds), seconds),
                )
            )
        head = ("run", "overrides", "digest", "", "time")
        caption = f"{study.title}: {len(cells)} runs of {shared(study)}"
        console.print(terminal(Sheet("cells", caption, head, tuple(rows), 4)))
        peak = max(peaks, default=None)
        memory = "" if peak is None else f", {peak / 1e9:.1f} GB each"
        console.print(
            f"about {duration(total / self.jobs)} to come, with {self.jobs} "
            f"run{'s' if self.jobs > 1 else ''} at a time{memory}",
            highlight=False,
        )
        if peak is not None:
            room.check_memory(self.jobs, peak)
        return 0


def _alike(one: Cell, other: Cell) -> bool:
    """Whether two cells differ in their seeds alone."""
    return one.settings == other.settings


def _forecast(cells: Sequence[Cell], measured: Mapping[str, float]) -> Forecast:
    """Return a forecast that knows the cells that have finished, and some that were ``measured``."""
    forecast = Forecast(measured)
    for cell in cells:
        if cell.finished and (wall := read_run(cell.folder).number("wall_seconds")) is not None:
            forecast.add(cell, wall)
    return forecast
