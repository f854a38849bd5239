"""What a run shows on the terminal: live progress, and the table at its end."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from trainer.config import part_name
from trainer.evaluate import Evaluation
from trainer.record import RunFolder
from trainer.session import Session


class TerminalWatcher:
    """Shows a run's progress on a terminal; elsewhere, one line an evaluation."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._conversion: tuple[str, TaskID] | None = None
        self._accuracy = ""

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

    def started(self, session: Session, resumed: bool) -> None:
        """Say what is about to be trained."""
        run, plan = session.run, session.plan
        chain = " + ".join(part_name("augment", part) for part in run.augment)
        precision = "bf16" if session.bf16 else "fp32"
        self._console.print(
            f"{part_name('model', run.model)} on {session.data.train.card.name}: {plan.steps:,} steps of "
            f"{run.batch_size}, {run.budget:.0%} of {run.epochs:g} epochs; "
            f"sampler {part_name('sampler', run.sampler)}, augment {chain}, "
            f"engine {part_name('engine', run.engine)}, {session.device} {precision}",
            soft_wrap=True,
            highlight=False,
        )
        if resumed:
            self._console.print(
                f"going on from step {session.ledger.steps:,}, from {session.folder.checkpoint}"
            )
        self._task = self._progress.add_task(
            "training", total=plan.steps, completed=session.ledger.steps, state=""
        )

    def stepped(self, session: Session, loss: float, rate: float) -> None:
        """Show how far the run is."""
        assert self._task is not None
        stall = session.ledger.stall
        state = f"round {session.ledger.rounds + 1}  {rate:,.0f} images/s  stall {stall:.1%}{self._accuracy}"
        self._progress.update(self._task, completed=session.ledger.steps, state=state)

    def evaluated(self, session: Session, evaluation: Evaluation) -> None:
        """Show or print the accuracy."""
        ledger = session.ledger
        self._accuracy = f"  accuracy {evaluation.accuracy:.2%}"
        if not self._console.is_terminal:
            rate = ledger.trained / ledger.train_seconds
            self._console.print(
                f"round {ledger.rounds}: accuracy {evaluation.accuracy:.2%}, {ledger.trained:,} samples, "
                f"{ledger.train_seconds:.0f} s, {rate:,.0f} images/s, stall {ledger.stall:.1%}"
            )


def summary(folder: RunFolder) -> Table:
    """What a finished run cost and what it bought."""
    ledger, last = folder.read("ledger.json"), folder.read("evaluations.jsonl")[-1]
    seconds = ledger["train_seconds"]
    table = Table("", "", show_header=False)
    table.columns[1].justify = "right"
    table.add_row("accuracy, last round", f"{last['accuracy']:.2%}")
    table.add_row("samples trained", f"{ledger['trained']:,} of {ledger['full_budget_samples']:,}")
    table.add_row("budget", f"{ledger['budget']:.0%}")
    table.add_row("training time", f"{seconds:,.1f} s")
    table.add_row("rate", f"{ledger['trained'] / seconds:,.0f} images/s")
    table.add_row("stall", f"{ledger['stall']:.2%}")
    table.add_row("weights", ledger["weights"][:12])
    return table
