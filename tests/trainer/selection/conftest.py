"""Fixtures of the selections' tests: pools of candidates made from given losses or outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from pipeline import Batch
from trainer.methods import Losses, Supervised
from trainer.selection import Candidates, Setting


def _deviation(observed: ArrayLike, expected: ArrayLike) -> float:
    seen, expectation = np.asarray(observed, float), np.asarray(expected, float)
    free = len(seen) - 1
    ratio = float(((seen - expectation) ** 2 / expectation).sum()) / free
    return float((ratio ** (1 / 3) - (1 - 2 / (9 * free))) / np.sqrt(2 / (9 * free)))


@pytest.fixture
def deviation() -> Callable[[ArrayLike, ArrayLike], float]:
    """Standard normal score of a chi-square statistic (Wilson & Hilferty): above 4.75 has p < 1e-6."""
    return _deviation


@pytest.fixture
def setting() -> Callable[..., Setting]:
    """Make a setting; the network, where a part asks for it, has known weights."""

    def make(
        batch_size: int, samples: int = 100, model: nn.Module | None = None, digest: str | None = None
    ) -> Setting:
        return Setting(batch_size, samples, torch.device("cpu"), model=model, digest=digest)

    return make


def losses_like(values: ArrayLike) -> Losses:
    """Losses [n, 1] whose values, errors and probabilities are all told apart."""
    loss = torch.as_tensor(np.asarray(values, np.float32))[:, None]
    return Losses(loss, torch.exp(-loss), 2 * loss + 1, loss < 1)


@pytest.fixture
def told() -> Callable[..., Losses]:
    """Make losses from values; the error is 2 * loss + 1."""
    return losses_like


@pytest.fixture
def plain() -> Callable[[int], Batch]:
    """Make a batch of so many samples, each alone."""
    return lambda n: Batch(np.arange(n), (torch.zeros(n, 3, 4, 4),), {})


@pytest.fixture
def pool() -> Callable[..., Candidates]:
    """Make candidates from losses, or from outputs, labels and features."""

    def make(
        losses: ArrayLike | None = None,
        uniforms: ArrayLike | None = None,
        ids: ArrayLike | None = None,
        outputs: Tensor | None = None,
        labels: Tensor | None = None,
        features: Tensor | None = None,
        images: Tensor | None = None,
    ) -> Candidates:
        found: Any = None
        if outputs is not None and labels is not None:
            found = Supervised().build(torch.nn.Identity()).losses(outputs, labels[:, None])
        elif losses is not None:
            found = losses_like(losses)
        n = len(images) if images is not None else len(found.loss)
        drawn = np.full(n, 0.5) if uniforms is None else uniforms
        return Candidates(
            ids=np.arange(n) if ids is None else np.asarray(ids, np.int64),
            images=torch.zeros(n, 3, 4, 4) if images is None else images,
            labels=torch.zeros(n, dtype=torch.int64) if labels is None else labels,
            uniforms=torch.as_tensor(np.asarray(drawn, np.float32))[:, None].expand(-1, 2),
            outputs=outputs,
            losses=found,
            features=features,
        )

    return make
