"""Fixtures of the samplers' tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from samplers import Feedback


def _deviation(observed: ArrayLike, expected: ArrayLike) -> float:
    seen, expectation = np.asarray(observed, float), np.asarray(expected, float)
    impossible = expectation == 0
    assert not seen[impossible].any()
    seen, expectation = seen[~impossible], expectation[~impossible]
    free = len(seen) - 1
    ratio = float(((seen - expectation) ** 2 / expectation).sum()) / free
    return float((ratio ** (1 / 3) - (1 - 2 / (9 * free))) / np.sqrt(2 / (9 * free)))


@pytest.fixture
def deviation() -> Callable[[ArrayLike, ArrayLike], float]:
    """Standard normal score of a chi-square statistic (Wilson & Hilferty): above 4.75 has p < 1e-6."""
    return _deviation


@pytest.fixture
def weights() -> NDArray[np.float32]:
    """100,000 weights over three orders of magnitude, a tenth of them 0: enough for every parallel path."""
    rng = np.random.default_rng(7)
    values = (10 ** rng.uniform(-3, 0, 100_000)).astype(np.float32)
    values[rng.random(100_000) < 0.1] = 0
    return values


@pytest.fixture
def feed() -> Callable[..., None]:
    """Feed rows to a sampler: ids, then loss and p_true where wanted, then coefficients."""

    def _feed(
        sampler: Any,
        ids: Any,
        loss: Any = None,
        p_true: Any = None,
        coefficient: bool | None = None,
        progress: Any = None,
    ) -> None:
        ids = np.asarray(ids, np.int64)
        loss = np.zeros(len(ids)) if loss is None else np.broadcast_to(loss, ids.shape)
        rows = Feedback(
            1,
            ids,
            loss.astype(np.float32),
            None if p_true is None else np.broadcast_to(p_true, ids.shape).astype(np.float32),
            np.ones(len(ids), bool),
            None if coefficient is None else np.asarray(coefficient, np.float32),
            progress=progress,
        )
        sampler.observe(rows)

    return _feed
