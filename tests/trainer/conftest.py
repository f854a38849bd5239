"""Short runs on a small set, trained for real."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.config import Run
from trainer.loop import train
from trainer.metrics import Evaluation
from trainer.parallel import World
from trainer.recipe import from_table
from trainer.run_folder import RunFolder, folder_name
from trainer.session import Session

Train = Callable[..., Session]


class Quiet:
    """A watcher that remembers, and can ask the process to stop as a person at the terminal does."""

    def __init__(self, stop_at: int | None = None, by: signal.Signals = signal.SIGINT) -> None:
        self.stop_at = stop_at
        self.by = by
        self.losses: list[float] = []
        self.accuracies: list[float] = []
        self.resumed_at: int | None = None
        self.notes: list[str] = []

    def converting(self, name: str, done: int, total: int) -> None:
        raise AssertionError("the data set is converted already")

    def note(self, text: str) -> None:
        self.notes.append(text)

    def started(self, session: Session, resumed: bool) -> None:
        self.resumed_at = session.ledger.steps if resumed else None

    def stepped(self, session: Session, loss: float, rate: float) -> None:
        self.losses.append(loss)
        if session.ledger.steps == self.stop_at:
            signal.raise_signal(self.by)

    def evaluated(self, session: Session, evaluation: Evaluation) -> None:
        self.accuracies.append(evaluation[session.run.metric.name])


@pytest.fixture
def recipe(fashion: Path, tmp_path: Path) -> Callable[..., Run]:
    """Make a small run from a TOML-like table's entries."""

    def make(**entries: Any) -> Run:
        table = {
            "data": "fashion_mnist",
            "data_dir": str(fashion),
            "runs_dir": str(tmp_path / "runs"),
            "model": {"name": "resnet8", "width": 4},
            "epochs": 4,
            "budget": 0.5,
            "batch_size": 64,
            "log_every": 5,
            "device": "cpu",
            **entries,
        }
        return from_table(table, where="test")

    return make


@pytest.fixture
def watch() -> type[Quiet]:
    """The watcher's class."""
    return Quiet


@pytest.fixture
def train_run() -> Train:
    """Train a run to its end; the session's loaders are closed."""

    def make(run: Run, watcher: Quiet | None = None) -> Session:
        folder = RunFolder(run.runs_dir / folder_name(run), run)
        threads = torch.get_num_threads()
        try:
            session = train(run, folder, World(), watcher or Quiet())
        finally:
            torch.set_num_threads(threads)
        session.close()
        return session

    return make
