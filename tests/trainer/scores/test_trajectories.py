"""Scores by the course of training, against slow references written from their equations."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.scores.table import TRAJECTORIES
from trainer.scores.trajectories import Trajectory

LABELS = np.array([0, 1, 2, 0, 1])
EPOCHS = 7


@pytest.fixture
def history() -> NDArray[np.float32]:
    """Probabilities of five samples and three classes after each epoch, float32[epochs, 5, 3]."""
    logits = np.random.default_rng(4).normal(0, 2, (EPOCHS, 5, 3))
    powers = np.exp(logits)
    return (powers / powers.sum(axis=2, keepdims=True)).astype(np.float32)


def _batches(p: NDArray[np.float32]) -> Iterator[tuple[Any, Any]]:
    for part in (slice(0, 2), slice(2, 5)):
        yield p[part], LABELS[part]


def _looked(name: str, history: Any, folder: Path, window: int = 4) -> Trajectory:
    """Look at every epoch, saved and loaded by another after each."""
    trajectory = TRAJECTORIES[name](window)
    for p in history:
        trajectory.look(_batches(p))
        trajectory.save(folder / "kept.npz")
        trajectory = TRAJECTORIES[name](window)
        trajectory.load(folder / "kept.npz")
    assert trajectory.looks == EPOCHS
    return trajectory


def test_forgetting_counts_each_fall_from_right_to_wrong_and_puts_the_never_right_first(
    history: Any, tmp_path: Path
) -> None:
    history[:, 3] = [0.1, 0.2, 0.7]  # never right
    right = [[p[i].argmax() == LABELS[i] for p in history] for i in range(5)]
    expected = [sum(a and not b for a, b in itertools.pairwise(row)) if any(row) else EPOCHS for row in right]
    assert _looked("forgetting", history, tmp_path).scores().tolist() == expected


def test_margins_are_of_the_true_class_over_the_best_other(history: Any, tmp_path: Path) -> None:
    expected = []
    for i, label in enumerate(LABELS):
        margins = [p[i][label] - max(p[i][c] for c in range(3) if c != label) for p in history]
        expected.append(-sum(margins) / EPOCHS)
    np.testing.assert_allclose(_looked("aum", history, tmp_path).scores(), expected, rtol=1e-5)


@pytest.mark.parametrize("window", [2, 4, 7])
def test_dual_is_difficulty_times_uncertainty_in_windows(history: Any, tmp_path: Path, window: int) -> None:
    expected, means = [], []
    for i, label in enumerate(LABELS):
        series = [float(p[i][label]) for p in history]
        of_windows = [
            (1 - statistics.mean(series[k : k + window])) * statistics.stdev(series[k : k + window])
            for k in range(EPOCHS - window + 1)
        ]
        expected.append(statistics.mean(of_windows))
        means.append(statistics.mean(series))
    made = _looked("dual", history, tmp_path, window)
    np.testing.assert_allclose(made.scores(), expected, rtol=1e-5)
    np.testing.assert_allclose(made.p_true(), means, rtol=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("window", [3, 4, 7])
def test_tdds_is_the_variation_of_changes_in_windows(history: Any, tmp_path: Path, window: int) -> None:
    expected = []
    for i in range(5):
        changes = [
            sum(abs(q * (math.log(q + 1e-8) - math.log(p + 1e-8))) for p, q in zip(*pair, strict=True))
            for pair in itertools.pairwise(history[:, i].astype(float))
        ]
        score = 0.0
        for k in range(EPOCHS - window + 1):
            own = changes[k : k + window - 1]
            norm = math.sqrt(sum((change - statistics.mean(own)) ** 2 for change in own))
            score += 0.9 * 0.1 ** (EPOCHS - window - k) * norm
        expected.append(score)
    made = _looked("tdds", history, tmp_path, window)
    np.testing.assert_allclose(made.scores(), expected, rtol=1e-4)
    assert made.p_true() is None
