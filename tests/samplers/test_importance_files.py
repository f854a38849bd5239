"""Importance kept in files: drawn by, averaged, refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samplers import ClassImportance, Plan, SampleImportance, SamplingError, SamplingWarning, Scores


@pytest.fixture
def plan() -> Plan:
    return Plan(6, epochs=10, budget=0.5, seed=1, labels=np.array([0, 0, 1, 1, 1, 2]))


def test_weights_can_come_from_a_file_of_scores(tmp_path: Path, plan: Plan) -> None:
    scores = np.array([1, 4, 0, 9, 1, 1], np.float32)
    Scores(scores, "el2n").save(tmp_path / "scores.npz")
    sampler = SampleImportance(epochs=0, scores=tmp_path / "scores.npz").build(plan)
    np.testing.assert_allclose(sampler.probabilities(), np.sqrt(scores) / np.sqrt(scores).sum(), rtol=1e-6)
    assert not (np.concatenate([sampler.next_order().ids for _ in range(10)]) == 2).any()


@pytest.mark.parametrize("part", [SampleImportance, ClassImportance])
def test_weights_of_a_file_are_drawn_by_after_the_scanned_epochs(
    tmp_path: Path, plan: Plan, feed: Callable[..., None], part: Any
) -> None:
    scores = np.array([1, 4, 0, 9, 1, 1], np.float32)
    Scores(scores, "p").save(tmp_path / "scores.npz")
    sampler = part(epochs=2, scores=tmp_path / "scores.npz").build(plan)
    ids = np.concatenate([sampler.next_order().ids for _ in range(4)])
    np.testing.assert_array_equal(np.bincount(ids), np.full(6, 2))
    feed(sampler, ids, p_true=0.5)  # its own predictions count for nothing
    weights = np.sqrt(scores)
    if part is ClassImportance:
        weights = np.array([3 / 2, 3 / 2, 4 / 3, 4 / 3, 4 / 3, 1])
    np.testing.assert_allclose(sampler.probabilities(), weights / weights.sum(), rtol=1e-6)


def test_scores_averaged_at_another_gamma_are_told(tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "scores.npz"
    Scores(np.arange(6, dtype=np.float32), "p", {"networks": 2, "gamma": 0.5}).save(path)
    assert SampleImportance(epochs=0, scores=path).build(plan).notes == ()
    with pytest.warns(SamplingWarning, match=r"at gamma 0\.5, and at 0\.1 .*: set gamma 0\.5, or score"):
        SampleImportance(epochs=0, gamma=0.1, scores=path).build(plan)


def test_scores_below_0_cannot_be_drawn_by(tmp_path: Path, plan: Plan) -> None:
    Scores(np.array([1, -2, 0, 9, 1, 1], np.float32), "margin").save(tmp_path / "scores.npz")
    with pytest.raises(SamplingError, match=r"at least 0 to draw by; got -2\.0 for sample 1"):
        SampleImportance(epochs=0, scores=tmp_path / "scores.npz").build(plan)
