"""tdds: temporal dual-depth scores."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from trainer.scores.trajectories import Outputs, Trajectory

_LEAST = 1e-8  # added to probabilities under a logarithm, as in the released code


class TemporalDualDepth(Trajectory):
    """How much a sample's contribution to training varies, with the last epochs counting most.

    Temporal dual-depth scoring, TDDS (Zhang et al. 2024). The inner depth is the change of the predictions
    from epoch to epoch, with the probabilities p_t of all classes after epoch t; the outer depth its
    variation within windows of J epochs, averaged exponentially with the decay 0.9 ::

        d_t = sum over classes of | p_(t+1) * log(p_(t+1) / p_t) |
        v_k = norm over window k of (d_t - mean_k(d))
        score = sum over k of 0.9 * 0.1^(T - J - k) * v_k,    k = 0 ... T - J

    T is the number of epochs, J = 10 by default. The paper tunes both for each data set and fraction kept, T
    from 10 to 90.

    The paper's text was not at hand; this is what the released code computes.

    Columns: ``last`` float32[N, classes], the last probabilities; ``changes`` float32[looks - 1, N].
    """

    epochs: ClassVar[float] = 30
    least_window: ClassVar[int] = 3
    decay: ClassVar[float] = 0.9

    def update(self, outputs: Outputs) -> None:
        """Append the changes since the last epoch."""
        last, seen, changes, first = self.columns.get("last"), [], [], 0
        for p, _ in outputs:
            if last is not None:
                before = last[first : first + len(p)]
                ratio = np.log(p + np.float32(_LEAST)) - np.log(before + np.float32(_LEAST))
                changes.append(np.abs(p * ratio).sum(axis=1))
            seen.append(p)
            first += len(p)
        if changes:
            self.append("changes", np.concatenate(changes))
        self.columns["last"] = np.concatenate(seen)

    def scores(self) -> NDArray[np.float32]:
        """Return the scores, float32[N]."""
        windows = sliding_window_view(self.columns["changes"], self.window - 1, axis=0)
        score = np.zeros(windows.shape[1])
        for own in windows.astype(np.float64):
            varied = np.linalg.norm(own - own.mean(axis=1, keepdims=True), axis=1)
            score = self.decay * varied + (1 - self.decay) * score
        return score.astype(np.float32)
