"""Scores by the course of training: the whole set is looked at after every epoch."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.formats.whole import write_whole
from trainer.metrics import Evaluation
from trainer.scores.examples import probabilities
from trainer.session import Session

Outputs = Iterable[tuple[NDArray[np.float32], NDArray[np.int64]]]
"""Softmax probabilities float32[b, classes] and labels int64[b] of all samples, by id, in batches."""


class Trajectory(ABC):
    """State of a score that follows a network's predictions from epoch to epoch.

    Predictions are of the images without augmentation, by one network in evaluation mode, so that scores
    don't depend on augmentation or on a sample's position in the epoch; published code takes those of the
    training steps.

    Attributes
    ----------
    columns
        All state besides ``looks``; the first axis of each array is that of samples, or of looks.
    looks
        Number of epochs looked at so far.
    """

    epochs: ClassVar[float] = 20
    """Epochs of training by default."""
    networks: ClassVar[int] = 1
    """Networks that scores are averaged over by default."""
    least_window: ClassVar[int] = 0
    """Least length of its windows of looks; 0 for a score without."""

    def __init__(self, window: int = 10) -> None:
        self.window = window
        self.columns: dict[str, NDArray[Any]] = {}
        self.looks = 0

    def look(self, outputs: Outputs) -> None:
        """Update with the predictions after one more epoch."""
        self.update(outputs)
        self.looks += 1

    @abstractmethod
    def update(self, outputs: Outputs) -> None:
        """Update ``columns``."""

    @abstractmethod
    def scores(self) -> NDArray[np.float32]:
        """Return the scores after the looks so far, float32[N], higher for samples more worth keeping."""

    def p_true(self) -> NDArray[np.float32] | None:
        """Return the mean probability of each sample's true class, float32[N]; None where it isn't kept."""
        return None

    def append(self, name: str, row: NDArray[np.float32]) -> None:
        """Append a look's row to a column float32[looks, N]."""
        rows = self.columns.get(name, np.empty((0, len(row)), np.float32))
        self.columns[name] = np.concatenate([rows, row[None]])

    def save(self, path: Path) -> None:
        """Write the state atomically."""
        buffer = io.BytesIO()
        np.savez(buffer, **{"looks": np.array(self.looks), **self.columns})  # type: ignore[arg-type]
        write_whole(path, buffer.getvalue())

    def load(self, path: Path) -> None:
        """Restore a saved state."""
        with np.load(path) as kept:
            self.columns = {name: kept[name] for name in kept.files if name != "looks"}
            self.looks = int(kept["looks"])


def of_true_class(p: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the probabilities of the true classes, float32[b]."""
    found: NDArray[np.float32] = p[np.arange(len(p)), labels]
    return found


class EpochWatcher:
    """Watcher that shows a trajectory the whole training set after every evaluation, and keeps its state.

    Parameters
    ----------
    trajectory
        In its initial state.
    name
        Of the file in the run folder.
    """

    def __init__(self, trajectory: Trajectory, name: str) -> None:
        self.trajectory = trajectory
        self._name = name

    def converting(self, name: str, done: int, total: int) -> None:
        """No-op."""

    def note(self, text: str) -> None:
        """No-op."""

    def started(self, session: Session, resumed: bool) -> None:
        """Load the state of an earlier session."""
        if resumed and self._path(session).exists():
            self.trajectory.load(self._path(session))

    def stepped(self, session: Session, loss: float, rate: float) -> None:
        """No-op."""

    def evaluated(self, session: Session, evaluation: Evaluation) -> None:
        """Look at every sample, unless this epoch was looked at before the run was stopped."""
        if session.ledger.rounds <= self.trajectory.looks:
            return
        self.trajectory.look(_outputs(session))
        self.trajectory.save(self._path(session))

    def _path(self, session: Session) -> Path:
        return session.folder.path / f"{self._name}.npz"


def _outputs(session: Session) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    for p, labels in probabilities(session):
        yield p.float().cpu().numpy(), labels.cpu().numpy()
