"""Progress in plain lines, for notebooks and files."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from trainer.metrics import PERCENT, Evaluation
from trainer.session import Session


class Lines:
    """Watcher that writes a line per evaluation, and one about the steps between them every few seconds.

    Nothing is written over: a notebook's output and a log stay readable, and short.

    Parameters
    ----------
    seconds
        Least time between two lines about steps.
    file
        Where to; by default standard output, which in a notebook is the cell that runs.
    """

    def __init__(self, seconds: float = 30.0, file: TextIO | None = None) -> None:
        self._seconds = seconds
        self._file = file
        self._last = time.monotonic()
        self._converting = ""

    def _write(self, text: str) -> None:
        file = self._file or sys.stdout
        file.write(f"{text}\n")
        file.flush()

    def converting(self, name: str, done: int, total: int) -> None:
        """Write that a data set is being converted, once."""
        if name != self._converting:
            self._write(f"converting {name}: {total:,} images, on first use")
        self._converting = name

    def note(self, text: str) -> None:
        """Write the note."""
        self._write(f"note: {text}")

    def started(self, session: Session, resumed: bool) -> None:
        """Write which run begins, or goes on, and the notes on it."""
        self._write(f"{'going on with' if resumed else 'training'} {session!r}")
        for note in (*session.data.notes, *session.sampler.notes):
            self.note(note)
        self._last = time.monotonic()

    def stepped(self, session: Session, loss: float, rate: float) -> None:
        """Write the loss and the rate, if the last line is some time ago."""
        if time.monotonic() - self._last < self._seconds:
            return
        self._last = time.monotonic()
        self._write(f"{self._where(session)}: loss {loss:.4f}, {rate:,.0f} images/s")

    def evaluated(self, session: Session, evaluation: Evaluation) -> None:
        """Write the primary metric."""
        metric = session.run.metric
        value = evaluation[metric.name]
        shown = f"{value:.2%}" if metric.unit == PERCENT else f"{value:.4g}"
        self._last = time.monotonic()
        self._write(f"{self._where(session)}: {metric.label} {shown}")

    @staticmethod
    def _where(session: Session) -> str:
        ledger, steps = session.ledger, session.account.steps
        of = "" if steps is None else f" of {steps:,}"
        return (
            f"round {ledger.rounds}, step {ledger.steps:,}{of}, {session.account.progress:.0%} of the budget"
        )
