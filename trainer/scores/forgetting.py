"""forgetting: how often a sample is forgotten."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from trainer.scores.trajectories import Outputs, Trajectory


class Forgetting(Trajectory):
    """Counts forgetting events: a sample classified correctly after one epoch and wrongly after the next.

    Toneva et al. (2019). They evaluate each sample when it is trained on; here the whole set is evaluated
    after each epoch. A sample that was never correct scores above all others, as in the published ranking.

    Columns: ``events`` int64[N]; ``right`` and ``ever`` bool[N], correct after the last epoch, and after any.
    """

    networks: ClassVar[int] = 10

    def update(self, outputs: Outputs) -> None:
        """Count the samples that are wrong now and were right before."""
        right = np.concatenate([p.argmax(axis=1) == labels for p, labels in outputs])
        if not self.columns:
            none = np.zeros(len(right), np.bool_)
            self.columns = {"events": np.zeros(len(right), np.int64), "right": none, "ever": none}
        events, before, ever = (self.columns[name] for name in ("events", "right", "ever"))
        self.columns = {"events": events + (before & ~right), "right": right, "ever": ever | right}

    def scores(self) -> NDArray[np.float32]:
        """Return each sample's forgetting events, float32[N]; ``looks`` for those never correct."""
        columns = self.columns
        return np.where(columns["ever"], columns["events"], self.looks).astype(np.float32)
