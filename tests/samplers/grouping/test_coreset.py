from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samplers import Plan, SamplingError, Scores, Subset
from samplers.draws import threads
from samplers.grouping.coreset import as_scores, facility_location, k_center


@pytest.fixture
def features() -> Any:
    return np.random.default_rng(5).normal(size=(300, 6)).astype(np.float32)


def test_k_center_takes_the_farthest_each_time(features: Any) -> None:
    chosen = k_center(features, 40, seed=1)
    for step in range(1, 40):
        distance = ((features[:, None] - features[None, chosen[:step]]) ** 2).sum(-1).min(axis=1)
        assert distance[chosen[step]] == pytest.approx(distance.max(), rel=1e-5)
    assert len(np.unique(chosen)) == 40


def test_k_center_does_not_depend_on_threads_and_begins_at_random(
    features: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = k_center(features, 20, seed=1)
    monkeypatch.setattr(threads, "SPAN", 100)
    np.testing.assert_array_equal(k_center(features, 20, seed=1), one)
    assert k_center(features, 1, seed=2)[0] != one[0]


def test_k_center_never_takes_a_sample_twice() -> None:
    assert sorted(k_center(np.ones((8, 2), np.float32), 8)) == list(range(8))


def test_facility_location_comes_near_the_greedy_value(features: Any) -> None:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = (1 + unit @ unit.T) / 2

    def value(chosen: Any) -> Any:
        return similarity[:, chosen].max(axis=1).sum()

    greedy: list[int] = []
    for _ in range(15):
        covered = similarity[:, greedy].max(axis=1) if greedy else np.zeros(300)
        greedy.append(int(np.maximum(similarity - covered[:, None], 0).sum(axis=0).argmax()))
    chosen = facility_location(features, 15, error=0.01)
    assert len(np.unique(chosen)) == 15
    assert value(chosen) > 0.97 * value(greedy)
    assert value(chosen) > value(np.arange(15)) * 1.02


def test_a_choice_makes_a_scores_file_for_subset(tmp_path: Path, features: Any) -> None:
    chosen = k_center(features, 60)
    Scores(as_scores(chosen, 300), "k_center").save(tmp_path / "k.npz")
    sampler = Subset(tmp_path / "k.npz").build(Plan(300, epochs=2, budget=0.1))
    assert set(sampler.next_order().ids) == set(chosen[:30])


@pytest.mark.parametrize("choose", [k_center, facility_location])
def test_what_cannot_be_is_refused(choose: Any, features: Any) -> None:
    with pytest.raises(SamplingError, match="count must be from 1 to the 300"):
        choose(features, 301)
    with pytest.raises(SamplingError, match="finite float32"):
        choose(np.full((3, 2), np.nan, np.float32), 1)
