"""Percentile ranks against their definitions, and the distributions of draws, by enumeration."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from trainer.selection.helpers.draws import (
    exponentials,
    highest,
    midpoint_percentiles,
    percentile_ranks,
    percentiles_among,
    weighted_with_replacement,
    weighted_without_replacement,
)

WEIGHTS = np.array([0.5, 3.0, 1.0, 0.0, 2.0, 1.5])


def test_exponentials_are_those_of_the_inverse_and_never_0_nor_infinite() -> None:
    edges = torch.tensor([0.0, 2.0**-24, 0.5, 1 - 2.0**-24])
    made = exponentials(edges)
    expected = [-np.log(1 - (float(u) + 2.0**-25)) for u in edges]
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-9)
    assert (made > 0).all()
    assert torch.isfinite(made).all()


def test_without_replacement_is_the_successive_draw(
    deviation: Callable[[ArrayLike, ArrayLike], float],
) -> None:
    """Ordered triples of five places: p_i, then p_j / (1 - p_i), then p_k / (1 - p_i - p_j)."""
    p = WEIGHTS / WEIGHTS.sum()
    triples = [t for t in itertools.permutations(range(6), 3) if 3 not in t]
    chances = [p[i] * p[j] / (1 - p[i]) * p[k] / (1 - p[i] - p[j]) for i, j, k in triples]
    assert sum(chances) == pytest.approx(1)
    rows, weights = 40_000, torch.from_numpy(WEIGHTS)
    uniforms = torch.rand(rows, 6, generator=torch.Generator().manual_seed(1))
    counts = dict.fromkeys(triples, 0)
    for row in uniforms:
        counts[tuple(weighted_without_replacement(weights, row, 3).tolist())] += 1
    assert deviation(list(counts.values()), np.array(chances) * rows) < 4.75


def test_without_replacement_gives_every_place_once_and_weight_0_last_in_order() -> None:
    weights = torch.tensor([0.0, 1.0, 0.0, 2.0, 0.0])
    for row in torch.rand(50, 5, generator=torch.Generator().manual_seed(2)):
        indices = weighted_without_replacement(weights, row, 5).tolist()
        assert sorted(indices[:2]) == [1, 3]
        assert indices[2:] == [0, 2, 4]
    assert weighted_without_replacement(weights, torch.zeros(5), 5).tolist() == [3, 1, 0, 2, 4]


def test_without_replacement_does_not_care_for_the_weights_scale() -> None:
    row = torch.rand(6, generator=torch.Generator().manual_seed(3))
    weights = torch.from_numpy(WEIGHTS)
    assert torch.equal(
        weighted_without_replacement(weights, row, 6), weighted_without_replacement(weights * 1e-30, row, 6)
    )


def test_with_replacement_draws_by_weight(deviation: Callable[[ArrayLike, ArrayLike], float]) -> None:
    draws = 60_000
    uniforms = torch.rand(draws, generator=torch.Generator().manual_seed(4))
    indices = weighted_with_replacement(torch.from_numpy(WEIGHTS), uniforms)
    counts = torch.bincount(indices, minlength=6).numpy()
    assert counts[3] == 0
    expected = draws * WEIGHTS / WEIGHTS.sum()
    assert deviation(np.delete(counts, 3), np.delete(expected, 3)) < 4.75


def test_with_replacement_is_the_inverse_of_the_cumulative_sum() -> None:
    uniforms = torch.tensor([0.0, 0.24, 0.26, 0.74, 0.76, 1 - 2.0**-24])
    indices = weighted_with_replacement(torch.tensor([0.0, 1.0, 2.0, 0.0, 1.0, 0.0]), uniforms)
    assert indices.tolist() == [1, 1, 2, 2, 4, 4]


def test_highest_takes_the_first_of_equal_values() -> None:
    values = torch.tensor([1.0, 3.0, 2.0, 3.0, 3.0, 0.0])
    assert highest(values, 2).tolist() == [1, 3]
    assert highest(values, 6).tolist() == [1, 3, 4, 2, 0, 5]
    assert highest(values, 0).tolist() == []


few_values = st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 7.0]), min_size=1, max_size=30)


@given(few_values, few_values)
def test_percentiles_among_others_count_those_that_are_at_most_as_large(values: Any, others: Any) -> None:
    made = percentiles_among(torch.tensor(values), torch.tensor(others))
    assert made.tolist() == [sum(o <= v for o in others) / len(others) for v in values]


@given(few_values)
def test_percentile_ranks_are_those_of_equation_4_4(losses: Any) -> None:
    expected = [sum(other <= loss for other in losses) / len(losses) for loss in losses]
    assert percentile_ranks(torch.tensor(losses)).tolist() == expected


def test_the_smallest_has_rank_1_of_n_and_equal_ones_share_the_last() -> None:
    assert percentile_ranks(torch.tensor([3.0, 1.0, 2.0, 2.0])).tolist() == [1, 0.25, 0.75, 0.75]
    assert percentile_ranks(torch.full((5,), 2.0)).tolist() == [1] * 5


@given(few_values)
def test_midpoint_percentiles_are_half_a_step_above_the_ordinal_rank(losses: Any) -> None:
    n = len(losses)
    ranks = np.argsort(np.argsort(losses, kind="stable"), kind="stable")
    np.testing.assert_allclose(midpoint_percentiles(torch.tensor(losses)).numpy(), (ranks + 0.5) / n)


@pytest.mark.parametrize("ranks", [percentile_ranks, midpoint_percentiles])
def test_no_candidates_have_no_ranks(ranks: Any) -> None:
    assert ranks(torch.empty(0)).tolist() == []
