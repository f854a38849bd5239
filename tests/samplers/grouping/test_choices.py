"""Choices of a subset against slow references: strata of CCS, sampling of DUAL."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from samplers import Plan, SamplingError, Scores, Subset
from samplers.draws.counter import make_key
from samplers.grouping.ccs import stratified
from samplers.grouping.dual import beta_sampled, beta_weights

KEY = make_key(3, "test")

Measured = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Scores and mean probabilities."""


def _strata_reference(scores: Any, count: int, cut: float, strata: int) -> list[int]:
    """Return how many samples each stratum keeps, stratum by stratum as the algorithm has it."""
    left = sorted(scores)[: len(scores) - round(cut * len(scores))]
    low, high = left[0], left[-1]
    edges = [low + (high - low) * k / strata for k in range(1, strata)]
    sizes = [0] * strata
    for score in left:
        sizes[sum(score >= edge for edge in edges)] += 1
    kept, budget, open_ = [0] * strata, count, sorted(range(strata), key=lambda k: (sizes[k], k))
    while open_:
        first = open_[0]
        kept[first] = min(sizes[first], budget // len(open_))
        budget -= kept[first]
        open_ = open_[1:]
    return kept


@given(
    seed=st.integers(0, 10_000),
    samples=st.integers(1, 120),
    part=st.floats(0, 1),
    cut=st.sampled_from([0.0, 0.1, 0.3]),
    strata=st.integers(1, 12),
)
@settings(deadline=None, max_examples=150)
def test_strata_are_those_of_the_algorithm(
    seed: int, samples: int, part: float, cut: float, strata: int
) -> None:
    # Whole numbers, whose strata have exact edges for any width of a power of 2.
    scores = np.random.default_rng(seed).integers(0, 65, samples).astype(np.float32)
    scores[0], scores[-1] = 0, 64
    strata = 2 ** (strata % 5)
    count = round(part * (samples - round(cut * samples)))
    chosen = stratified(scores, count, KEY, cut=cut, strata=strata)
    assert len(np.unique(chosen)) == len(chosen) == count
    left = np.sort(scores)[: samples - round(cut * samples)]
    if left[-1] == left[0] or math.log2(left[-1] - left[0]) % 1:
        return
    width = (left[-1] - left[0]) / strata
    found = np.bincount(
        np.minimum((scores[chosen] - left[0]) / width, strata - 1).astype(int), minlength=strata
    )
    assert found.tolist() == _strata_reference(scores.tolist(), count, cut, strata)


def test_the_hardest_are_cut_and_the_rest_is_covered() -> None:
    scores = np.concatenate([np.zeros(900), np.linspace(0.5, 1, 100)]).astype(np.float32)
    chosen = stratified(scores, 60, KEY, cut=0.05, strata=10)
    assert scores[chosen].max() <= np.sort(scores)[949]
    # 900 samples lie in one stratum; the few others are kept as far as the budget goes round.
    assert 6 <= (scores[chosen] == 0).sum() < 20
    kept = np.array([stratified(scores, 60, make_key(seed, "x"), cut=0.05, strata=10) for seed in range(200)])
    counts = np.bincount(kept.reshape(-1), minlength=1000)
    assert counts[:900].max() < 20  # any of the many


def test_what_is_cut_cannot_be_kept() -> None:
    with pytest.raises(SamplingError, match="of 10 samples it cuts 3 and is to keep 8: lower cut or keep"):
        stratified(np.arange(10, dtype=np.float32), 8, KEY, cut=0.3)


def test_equal_scores_are_one_stratum() -> None:
    assert len(stratified(np.full(20, 0.7, np.float32), 8, KEY)) == 8


def _beta_reference(scores: Any, p_true: Any, kept: float, exponent: float) -> Any:
    hardest = sorted(range(len(scores)), key=lambda i: scores[i])[-10:]
    mean = sum(p_true[i] for i in hardest) / 10
    b = 15 * (1 - mean) * (1 - (1 - kept) ** exponent)
    a = 16 - b
    norm = math.gamma(a + b) / (math.gamma(a) * math.gamma(b))
    return [s * norm * p ** (a - 1) * (1 - p) ** (b - 1) for s, p in zip(scores, p_true, strict=True)]


@pytest.fixture
def measured() -> Measured:
    rng = np.random.default_rng(0)
    p_true = rng.uniform(0.02, 0.98, 40).astype(np.float32)
    return (rng.uniform(0, 0.2, 40) * (1 - p_true)).astype(np.float32), p_true


@pytest.mark.parametrize(("kept", "exponent"), [(0.1, 4.0), (0.5, 4.0), (0.3, 11.0), (1.0, 4.0)])
def test_weights_are_score_times_density(measured: Measured, kept: float, exponent: float) -> None:
    expected = np.array(_beta_reference(*measured, kept, exponent))
    weights = beta_weights(*measured, kept, exponent)
    np.testing.assert_allclose(weights / weights.sum(), expected / expected.sum(), rtol=1e-5)


def test_the_less_is_kept_the_easier_the_samples(measured: Measured) -> None:
    _, p_true = measured
    means = []
    for kept in (0.05, 0.3, 0.8):
        weights = beta_weights(*measured, kept, 4.0)
        means.append((weights * p_true).sum() / weights.sum())
    assert means[0] > means[1] > means[2]


def test_a_draw_is_by_the_weights(measured: Measured, deviation: Callable[..., float]) -> None:
    expected = beta_weights(*measured, 1 / 40, 4.0)
    counts = np.zeros(40)
    for seed in range(3000):
        counts[beta_sampled(*measured, 1, make_key(seed, "one"), 4.0)] += 1
    assert deviation(counts, 3000 * expected / expected.sum()) < 4.75


def test_certain_samples_and_scores_of_0_stay_drawable() -> None:
    scores, p_true = np.zeros(20, np.float32), np.ones(20, np.float32)
    assert len(beta_sampled(scores, p_true, 5, KEY, 4.0)) == 5
    scores[:3] = 1
    assert set(beta_sampled(scores, p_true, 5, KEY, 4.0)) >= {0, 1, 2}
    scores[4] = -1
    with pytest.raises(SamplingError, match=r"scores must be at least 0 to draw by; got -1\.0 for sample 4"):
        beta_weights(scores, p_true, 0.5, 4.0)


@pytest.fixture
def files(measured: Measured, tmp_path: Path) -> tuple[Path, Path]:
    plain, dual = tmp_path / "plain.npz", tmp_path / "dual.npz"
    Scores(measured[0], "el2n").save(plain)
    Scores(measured[0], "dual", p_true=measured[1]).save(dual)
    return plain, dual


def test_the_sampler_keeps_what_is_chosen(files: Any, measured: Measured) -> None:
    plan, (plain, dual) = Plan(40, epochs=6, budget=0.25, seed=3), files
    key = make_key(3, "subset")
    expected = {
        Subset(plain, choice="ccs", cut=0.1, strata=5): stratified(measured[0], 10, key, cut=0.1, strata=5),
        Subset(plain, choice="ccs", lowest=True): stratified(-measured[0], 10, key),
        Subset(dual, choice="dual", exponent=2.0): beta_sampled(*measured, 10, key, 2.0),
    }
    for part, ids in expected.items():
        sampler = part.build(plan)
        assert sorted(sampler.next_order().ids) == ids.tolist()
        assert len(np.unique(ids)) == 10


def test_states_saved_before_there_were_choices_are_still_read(files: Any) -> None:
    assert repr(Subset(keep=0.5)) == "Subset(scores=None, keep=0.5, lowest=False)"
    part = Subset(files[0], choice="ccs", cut=0.1)
    assert repr(part).endswith("lowest=False, choice='ccs', cut=0.1)")
    state = part.build(Plan(40, epochs=6, budget=0.25)).state_dict()
    with pytest.raises(SamplingError, match="must have this sampler's part"):
        Subset(files[0]).build(Plan(40, epochs=6, budget=0.25)).load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"choice": "best"}, "choice must be one of rank, ccs, dual; got best"),
        (
            {"choice": "ccs"},
            "choice ccs must have scores to choose by; got none: make them with .*--metric aum",
        ),
        (
            {"choice": "dual"},
            "choice dual must have scores to choose by; got none: make them .*--metric dual",
        ),
        ({"cut": 0.1}, "cut is an option of choice ccs; got 0.1 with rank: set choice to ccs"),
        ({"strata": 9, "choice": "dual"}, "strata is an option of choice ccs; got 9 with dual"),
        ({"exponent": 5.0}, "exponent is an option of choice dual; got 5.0 with rank"),
        ({"choice": "ccs", "cut": 1.0}, "cut must be from 0 to below 1; got 1.0"),
        ({"choice": "ccs", "strata": 0}, "strata must be at least 1; got 0"),
        ({"choice": "dual", "exponent": 0.0}, "exponent must be above 0 and finite; got 0.0"),
        ({"choice": "dual", "scores": Path("a"), "lowest": True}, "lowest must be off for choice dual"),
    ],
)
def test_choices_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        Subset(**options)


def test_dual_needs_the_probabilities(files: Any) -> None:
    with pytest.raises(SamplingError, match=r"plain\.npz, of el2n, has none: make it with `trainer score"):
        Subset(files[0], choice="dual").build(Plan(40, epochs=6, budget=0.25))


def test_probabilities_are_kept_with_the_scores_and_checked(files: Any, measured: Measured) -> None:
    np.testing.assert_array_equal(Scores.load(files[1], 40).p_true, measured[1])
    assert Scores.load(files[0], 40).p_true is None
    with pytest.raises(SamplingError, match=r"p_true must be probabilities, float32\[40\] in \[0, 1\]"):
        Scores(measured[0], "dual", p_true=measured[1] + 1)
