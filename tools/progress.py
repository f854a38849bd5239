"""A run's output on the terminal: live progress, and the table at its end."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pipeline.errors import one_line
from tools.reporting.metrics import exact
from tools.reporting.settings import UNSAID
from tools.reporting.wording import planned_cost
from tools.streams import say
from trainer.metrics import Evaluation
from trainer.session import Session
from trainer.settings.notes import notes
from trainer.slots import SLOTS


class TerminalWatcher:
    """Shows a run's progress on a terminal; elsewhere, one line per evaluation."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._conversion: tuple[str, TaskID] | None = None
        self._result = ""

    def __enter__(self) -> TerminalWatcher:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def converting(self, name: str, done: int, total: int) -> None:
        """Show a conversion's progress."""
        if self._conversion is None or self._conversion[0] != name:
            if not self._console.is_terminal:
                self._console.print(f"converting {name}: {total:,} images, on first use")
            self._conversion = (name, self._progress.add_task(f"converting {name}", total=total, state=""))
        self._progress.update(self._conversion[1], completed=done)

    def note(self, text: str) -> None:
        """Print a note on the error stream, in one line."""
        if not self._console.quiet:
            say(f"note: {text}")

    def started(self, session: Session, resumed: bool) -> None:
        """Print the run that is about to be trained."""
        run = session.run
        slots = ("sampler", "selection", "resolution", "augment", "engine")
        parts = {slot: SLOTS[slot].named(run) for slot in slots}
        named = ", ".join(f"{slot} {name}" for slot, name in parts.items() if (slot, name) not in UNSAID)
        # A library's networks have names of their own.
        network = getattr(run.model, "arch", SLOTS["model"].named(run))
        planned = session.account.steps
        steps = "steps" if planned is None else f"{planned:,} steps"
        self._console.print(
            f"{network} on {session.data.train.card.name}: {steps} of "
            f"{run.batch_size}, {planned_cost(run)}; {named}, "
            f"{session.device} {session.precision}",
            soft_wrap=True,
            highlight=False,
        )
        of_sampler = [f"{SLOTS['sampler'].named(run)}: {note}" for note in session.sampler.notes]
        for note in (*session.data.notes, *of_sampler, *notes(run, session.full, len(session.data.train))):
            self._console.print(f"note: {one_line(note)}", soft_wrap=True, markup=False, highlight=False)
        if resumed:
            self._console.print(
                f"going on from step {session.ledger.steps:,}, from {session.folder.checkpoint}",
                soft_wrap=True,
                highlight=False,
            )
        self._task = self._progress.add_task("training", total=1.0, state="")
        self._progress.update(self._task, completed=session.account.progress)

    def stepped(self, session: Session, loss: float, rate: float) -> None:
        """Show the run's progress."""
        assert self._task is not None
        ledger, steps = session.ledger, session.account.steps
        of = "" if steps is None else f" of {steps:,}"
        state = f"step {ledger.steps:,}{of}  round {ledger.rounds + 1}  {rate:,.0f} images/s  "
        state += f"stall {ledger.stall:.1%}{self._result}"
        self._progress.update(self._task, completed=session.account.progress, state=state)

    def evaluated(self, session: Session, evaluation: Evaluation) -> None:
        """Show or print the primary metric."""
        ledger, metric = session.ledger, session.run.metric
        result = f"{metric.label} {exact(metric, evaluation[metric.name])}"
        self._result = f"  {result}"
        for other in session.run.metrics:
            if other.name in evaluation and other.collapsed(evaluation[other.name]):
                value = exact(other, evaluation[other.name])
                self.note(
                    f"training has collapsed: {other.label} {value}, below {other.collapsed_below:g}; lower "
                    "--optimizer.lr, or take another --method"
                )
        if not self._console.is_terminal:
            rate = ledger.trained / ledger.train_seconds
            self._console.print(
                f"round {ledger.rounds}: {result}, {ledger.trained:,} samples, "
                f"{session.account.progress:.0%} of the budget, {ledger.train_seconds:.0f} s, "
                f"{rate:,.0f} images/s, stall {ledger.stall:.1%}",
                soft_wrap=True,
            )
