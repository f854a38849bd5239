"""Events of a run in progress, for watchers and for steps.jsonl."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from trainer.metrics import Evaluation
from trainer.parts import Line
from trainer.session import Session
from trainer.sinks import SinkContext, Sinks
from trainer.sinks.protocol import Line as LoggedLine


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


def open_sinks(session: Session) -> Sinks:
    """Return the sinks of a session, on rank 0; on others none.

    Raises
    ------
    RunError, DataError
        When one can't be written to.
    """
    folder = session.folder

    def earlier(name: str) -> Sequence[LoggedLine]:
        return folder.read(name) if (folder.path / name).exists() else []

    began = folder.environment.get("started")
    context = SinkContext(
        path=folder.path,
        table=folder.table,
        started=datetime.fromisoformat(began).timestamp() if isinstance(began, str) else 0.0,
        metrics=[metric.name for metric in session.run.metrics],
        earlier=earlier,
        append=folder.append,
    )
    return Sinks(session.run.sinks if session.world.leads else (), context)


class Log:
    """Writer of a line about the steps to the sinks, with the times of the last writes.

    Lines depend only on the steps. Losses collected since the last line, as for a checkpoint, are kept in the
    session.
    """

    def __init__(self, session: Session, watcher: Watcher, sinks: Sinks) -> None:
        self._session = session
        self._watcher = watcher
        self._sinks = sinks
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
        right = line.accuracies
        session.line = Line(ledger.steps, seconds)
        with ledger.phase("feedback"):
            self._sinks.step(
                {
                    "step": ledger.steps,
                    "round": ledger.rounds,
                    "samples": ledger.trained,
                    "progress": session.account.progress,
                    "pixels": session.pixels,
                    "lr": session.step.optimizer.param_groups[0]["lr"],
                    "loss": loss,
                    **({"accuracy": sum(right) / len(right)} if right else {}),
                    "seconds": seconds,
                    "rate": rate,
                }
            )
            self._watcher.stepped(session, loss, rate)

    def since_checkpoint(self) -> float:
        """Seconds since the last checkpoint, or since the session began."""
        return time.monotonic() - self._saved

    def saved(self) -> None:
        """Record that a checkpoint was written now."""
        self._saved = time.monotonic()
