"""Events of a run in progress, for watchers and for steps.jsonl."""

from __future__ import annotations

import time
from typing import Protocol

from trainer.metrics import Evaluation
from trainer.parts import Line
from trainer.session import Session


class Watcher(Protocol):
    """Observer of a run's progress, which shows it to the user."""

    def converting(self, name: str, done: int, total: int) -> None:
        """A data set is being converted before its first use."""

    def note(self, text: str) -> None:
        """A setting looks wrong but may be intended: the note to show."""

    def started(self, session: Session, resumed: bool) -> None:
        """Everything is built; training begins or resumes."""

    def stepped(self, session: Session, loss: float, rate: float) -> None:
        """Some steps were made; ``loss`` is their mean, ``rate`` in images/s."""

    def evaluated(self, session: Session, evaluation: Evaluation) -> None:
        """The network was evaluated: its metrics by name."""


class Silent:
    """Watcher that shows nothing."""

    def converting(self, name: str, done: int, total: int) -> None:
        """No-op."""

    def note(self, text: str) -> None:
        """No-op."""

    def started(self, session: Session, resumed: bool) -> None:
        """No-op."""

    def stepped(self, session: Session, loss: float, rate: float) -> None:
        """No-op."""

    def evaluated(self, session: Session, evaluation: Evaluation) -> None:
        """No-op."""


class Log:
    """Writer of steps.jsonl, with the times of the last writes.

    Lines depend only on the steps. Losses collected since the last line, as for a checkpoint, are kept in the
    session.
    """

    def __init__(self, session: Session, watcher: Watcher) -> None:
        self._session = session
        self._watcher = watcher
        self._saved = time.monotonic()
        self._looked = session.ledger.steps // session.run.log_every

    def due(self) -> bool:
        """Whether another line is due since the last call; the same on every rank."""
        before, self._looked = self._looked, self._session.ledger.steps // self._session.run.log_every
        return self._looked != before

    def write(self) -> None:
        """Collect feedback and write a line on the steps since the last one, if any."""
        self._session.collect()
        session, ledger, line = self._session, self._session.ledger, self._session.line
        if not line.losses:
            return
        ledger.settle()
        seconds = ledger.train_seconds
        rate = (ledger.steps - line.step) * session.run.batch_size / (seconds - line.seconds)
        loss = sum(line.losses) / len(line.losses)
        session.line = Line(ledger.steps, seconds)
        if session.world.leads:
            session.folder.append(
                "steps.jsonl",
                {
                    "step": ledger.steps,
                    "round": ledger.rounds,
                    "samples": ledger.trained,
                    "progress": session.account.progress,
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
        """Record that a checkpoint was written now."""
        self._saved = time.monotonic()
