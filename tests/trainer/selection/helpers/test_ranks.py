"""Percentile ranks against their definitions, counted one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.selection.helpers.ranks import midpoint_percentiles, percentile_ranks, percentiles_among

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
