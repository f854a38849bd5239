"""What is told while a run goes on: to somebody who watches, and to steps.jsonl."""

from __future__ import annotations

import time
from typing import Protocol

from trainer.evaluate import Evaluation
from trainer.session import Session


class Watcher(Protocol):
    """Is told how a run goes on; shows it to somebody."""

    def converting(self, name: str, done: int, total: int) -> None:
        """A data set is being converted before its first use."""

    def started(self, session: Session, resumed: bool) -> None:
        """Everything is built; training begins or goes on."""

    def stepped(self, session: Session, loss: float, rate: float) -> None:
        """Some steps were made; ``loss`` is their mean, ``rate`` in images/s."""

    def evaluated(self, session: Session, evaluation: Evaluation) -> None:
        """The model was evaluated."""


class Log:
    """Writes steps.jsonl, and knows how long ago things were written."""

    def __init__(self, session: Session, watcher: Watcher) -> None:
        self._session = session
        self._watcher = watcher
        self._steps = session.ledger.steps
        self._seconds = session.ledger.train_seconds
        self._saved = time.monotonic()

    def write(self) -> None:
        """Collect feedback and write a line about the steps since the last one, where there were any."""
        session, ledger = self._session, self._session.ledger
        losses = session.collect()
        if not losses:
            return
        ledger.settle()
        seconds = ledger.train_seconds
        rate = (ledger.steps - self._steps) * session.run.batch_size / (seconds - self._seconds)
        self._steps, self._seconds = ledger.steps, seconds
        loss = sum(losses) / len(losses)
        if session.world.leads:
            session.folder.append(
                "steps.jsonl",
                {
                    "step": ledger.steps,
                    "round": ledger.rounds,
                    "samples": ledger.trained,
                    "progress": session.budget.progress(ledger),
                    "pixels": session.pixels,
                    "lr": session.step.optimizer.param_groups[0]["lr"],
                    "loss": loss,
                    "seconds": seconds,
                    "rate": rate,
                },
            )
        self._watcher.stepped(session, loss, rate)

    def since_checkpoint(self) -> float:
        """Seconds since the last checkpoint, or since the session began."""
        return time.monotonic() - self._saved

    def saved(self) -> None:
        """A checkpoint was written just now."""
        self._saved = time.monotonic()
