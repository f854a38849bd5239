from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from samplers import SamplingError
from samplers.draws.counter import make_key
from samplers.draws.tables import AliasTable

positive = st.lists(st.sampled_from([0.0, 1e-9, 0.3, 1.0, 50.0]), min_size=1, max_size=20).filter(any)


@given(positive)
@settings(deadline=None, max_examples=200)
def test_an_alias_table_holds_the_probabilities(weights: NDArray[np.float32]) -> None:
    array = np.array(weights)
    table = AliasTable(array)
    share = table._chances / len(array)
    np.add.at(share, table._aliases, (1 - table._chances) / len(array))
    np.testing.assert_allclose(share, array / array.sum(), atol=1e-12)
    assert not share[array == 0].any()


def test_alias_draws_are_distributed_as_the_weights(
    deviation: Callable[[ArrayLike, ArrayLike], float], weights: NDArray[np.float32]
) -> None:
    table = AliasTable(weights)
    ids = table.draw(300_000, make_key(0, "alias"))
    group = np.arange(len(weights)) % 300
    expected = np.bincount(group, weights) / weights.sum(dtype=float) * len(ids)
    assert -4.75 < deviation(np.bincount(group[ids]), expected) < 4.75
    assert not (weights[ids] == 0).any()
    assert abs(np.corrcoef(ids[:-1], ids[1:])[0, 1]) < 4.9 / np.sqrt(len(ids))


def test_an_alias_table_needs_a_weight() -> None:
    with pytest.raises(SamplingError, match="all are 0"):
        AliasTable(np.zeros(3))
    with pytest.raises(SamplingError, match="sample 1"):
        AliasTable(np.array([1, np.nan]))
