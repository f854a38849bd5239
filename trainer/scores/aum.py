"""aum: the area under the margin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.scores.trajectories import Outputs, Trajectory, of_true_class


class AreaUnderMargin(Trajectory):
    """Minus the mean margin of a sample over training: higher for harder samples, and for mislabelled ones.

    Pleiss et al. (2020), as coverage-centric selection uses it (Zheng et al. 2023): the margin is the
    probability of the true class less the largest of the others. Pleiss et al. take it of the outputs before
    the softmax; the released code of CCS takes it of probabilities, and sums it over the 200 epochs of a
    whole training. Here it is the mean over the epochs looked at, with the sign of a difficulty, which
    `samplers.grouping.ccs` cuts and covers.

    Column: ``margins`` float64[N], their sum.
    """

    def update(self, outputs: Outputs) -> None:
        """Add the margins after one more epoch."""
        margins = np.concatenate([_margins(p, labels) for p, labels in outputs])
        self.columns["margins"] = self.columns.get("margins", 0) + margins

    def scores(self) -> NDArray[np.float32]:
        """Return minus the mean margins, float32[N] in [-1, 1]."""
        mean: NDArray[np.float32] = (-self.columns["margins"] / self.looks).astype(np.float32)
        return mean


def _margins(p: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    own = of_true_class(p, labels).astype(np.float64)
    others = p.copy()
    others[np.arange(len(p)), labels] = -np.inf
    margins: NDArray[np.float64] = own - others.max(axis=1)
    return margins
