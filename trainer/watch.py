"""Events of a run in progress, for watchers and for steps.jsonl."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

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


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A line without its losses: step and training clock at its end, and its other entries."""

    step: int
    seconds: float
    about: Mapping[str, Any]


class Log:
    """Writer of a line about the steps to the sinks, with the times of the last writes.

    Lines depend only on the steps. Losses collected since the last line, as for a checkpoint, are kept in the
    session. Where feedback is passed on behind the steps, a line waits for its losses.
    """

    def __init__(self, session: Session, watcher: Watcher, sinks: Sinks) -> None:
        self._session = session
        self._watcher = watcher
        self._sinks = sinks
        self._waiting: deque[_Waiting] = deque()
        self._saved = time.monotonic()
        self._looked = session.ledger.steps // session.run.log_every

    def due(self) -> bool:
        """Whether another line is due since the last call; the same on every rank."""
        before, self._looked = self._looked, self._session.ledger.steps // self._session.run.log_every
        return self._looked != before

    def note(self) -> None:
        """Write a line on the steps since the last one once their losses are collected; now, if they are."""
        session, ledger = self._session, self._session.ledger
        if ledger.steps > (self._waiting[-1].step if self._waiting else session.line.step):
            about = {
                "step": ledger.steps,
                "round": ledger.rounds,
                "samples": ledger.trained,
                "progress": session.account.progress,
                "pixels": session.pixels,
                "lr": session.step.optimizer.param_groups[0]["lr"],
            }
            self._waiting.append(_Waiting(ledger.steps, ledger.train_seconds, about))
        self._write_collected()

    def write(self) -> None:
        """Collect all feedback, and write a line on the steps since the last one, if any."""
        self._session.collect()
        self.note()

    def catch_up(self) -> None:
        """Collect all feedback, and write the lines that waited for it."""
        self._session.collect()
        self._write_collected()

    def _write_collected(self) -> None:
        """Write the lines whose losses are collected."""
        session, ledger = self._session, self._session.ledger
        while self._waiting and len(session.line.losses) >= self._waiting[0].step - session.line.step:
            now, line = self._waiting.popleft(), session.line
            steps = now.step - line.step
            losses, right = line.losses[:steps], line.accuracies[:steps]
            rate = steps * session.run.batch_size / (now.seconds - line.seconds)
            loss = sum(losses) / len(losses)
            session.line = Line(now.step, now.seconds, line.losses[steps:], line.accuracies[steps:])
            with ledger.phase("feedback"):
                self._sinks.step(
                    {
                        **now.about,
                        "loss": loss,
                        **({"accuracy": sum(right) / len(right)} if right else {}),
                        "seconds": now.seconds,
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
