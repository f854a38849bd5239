"""dual: difficulty times uncertainty, early in training."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from trainer.scores.trajectories import Outputs, Trajectory, of_true_class


class DifficultyUncertainty(Trajectory):
    """Mean over windows of training of (1 - mean p) * (standard deviation of p), p that of the true class.

    DUAL (Cho et al. 2025). Over the J successive epochs of window k, with p_t the probability of a
    sample's true class after epoch t ::

        score = mean over k of (1 - mean_k(p)) * std_k(p)

    with the unbiased standard deviation: samples that are hard and uncertain are kept. It needs only the
    first T epochs, 30 with J = 10 on CIFAR, 60 on ImageNet. `samplers.grouping.dual` draws by it. The
    released code multiplies scores by 10, which changes no choice.

    The paper's text was not at hand; this is what the released code computes.

    Column: ``p`` float32[looks, N].
    """

    epochs: ClassVar[float] = 30
    least_window: ClassVar[int] = 2

    def update(self, outputs: Outputs) -> None:
        """Append the probabilities after one more epoch."""
        self.append("p", np.concatenate([of_true_class(p, labels) for p, labels in outputs]))

    def scores(self) -> NDArray[np.float32]:
        """Return the scores, float32[N]."""
        windows = sliding_window_view(self.columns["p"], self.window, axis=0)
        of_windows = np.stack(
            [(1 - own.mean(axis=1)) * own.std(axis=1, ddof=1) for own in windows.astype(np.float64)]
        )
        mean: NDArray[np.float32] = of_windows.mean(axis=0).astype(np.float32)
        return mean

    def p_true(self) -> NDArray[np.float32]:
        """Return the mean probabilities over all looks, float32[N]."""
        mean: NDArray[np.float32] = self.columns["p"].mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean
