"""foms: the distribution of eq. 4.4, its scores, and the memory of forgetting."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike

from trainer.errors import RunError
from trainer.selection import Candidates, Setting
from trainer.selection.foms import Foms
from trainer.selection.helpers.forgetting import ForgettingMemory

LOSSES = [0.4, 2.0, 0.1, 2.0, 1.0]


def successive(weights: np.ndarray, count: int) -> dict[tuple[int, ...], float]:
    """Chance of each set of places when one after another is drawn by weight among those left."""
    found: dict[tuple[int, ...], float] = {}
    for order in itertools.permutations(range(len(weights)), count):
        chance, left = 1.0, weights.sum()
        for place in order:
            chance *= weights[place] / left
            left -= weights[place]
        key = tuple(sorted(order))
        found[key] = found.get(key, 0) + chance
    return found


@pytest.mark.parametrize(("beta", "ratio"), [(1.0, 2.0), (0.0, 2.0), (2.5, 4.0)])
def test_draws_by_a_power_of_the_percentile_rank(
    deviation: Callable[[ArrayLike, ArrayLike], float],
    setting: Callable[..., Setting],
    pool: Callable[..., Candidates],
    beta: float,
    ratio: float,
) -> None:
    ranks = np.array([sum(other <= loss for other in LOSSES) / 5 for loss in LOSSES])
    chances = successive(ranks**beta, 2)
    counts = dict.fromkeys(chances, 0)
    selection = Foms(beta=beta, ratio=ratio).build(setting(2))
    rows = 12_000
    for row in np.random.default_rng(3).random((rows, 5), np.float32):
        counts[tuple(sorted(selection.choose(pool(LOSSES, row)).indices.tolist()))] += 1
    assert deviation(list(counts.values()), np.array(list(chances.values())) * rows) < 4.75


def test_the_easiest_candidate_is_drawn_too(
    setting: Callable[..., Setting], pool: Callable[..., Candidates]
) -> None:
    """Algorithm 3 would give it rank 0; eq. 4.4 gives it 1 / n."""
    selection = Foms().build(setting(1))
    rows = np.random.default_rng(4).random((400, 5), np.float32)
    assert any(selection.choose(pool(LOSSES, row)).indices.tolist() == [2] for row in rows)


def test_ranks_by_gradient_norm_where_asked(
    setting: Callable[..., Setting], pool: Callable[..., Candidates]
) -> None:
    """A confident mistake has the larger loss; the norm of softmax - y can rank the other way round."""
    p = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.45, 0.19, 0.18, 0.18]]).clamp(min=1e-9)
    shown = pool(outputs=p.log(), labels=torch.tensor([0, 0]), uniforms=[0.5, 0.5])
    assert shown.losses.loss[1, 0] > shown.losses.loss[0, 0]
    assert shown.losses.error[0, 0] > shown.losses.error[1, 0]  # type: ignore[index]
    assert Foms().build(setting(1)).choose(shown).indices.tolist() == [1]
    assert Foms(score="gradient_norm").build(setting(1)).choose(shown).indices.tolist() == [0]


def test_memory_is_the_moving_average_of_rises_since_last_seen() -> None:
    memory = ForgettingMemory(50, pace=0.3, device=torch.device("cpu"))
    rng = np.random.default_rng(5)
    last: dict[int, float] = {}
    average = dict.fromkeys(range(50), 0.0)
    for _ in range(30):
        ids = rng.permutation(50)[:20]
        losses = rng.random(20).astype(np.float32)
        expected = []
        for i, loss in zip(ids.tolist(), losses.tolist(), strict=True):
            if i in last:
                average[i] = 0.7 * average[i] + 0.3 * max(0.0, loss - last[i])
            last[i] = loss
            expected.append(average[i])
        made = memory.update(ids, torch.from_numpy(losses))
        np.testing.assert_allclose(made.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_of_a_sample_that_stands_twice_the_last_is_remembered() -> None:
    memory = ForgettingMemory(4, pace=1.0, device=torch.device("cpu"))
    memory.update(np.array([2, 1, 2, 2]), torch.tensor([1.0, 5.0, 7.0, 3.0]))
    rises = memory.update(np.array([2, 1, 0]), torch.tensor([4.0, 4.0, 4.0]))
    assert rises.tolist() == [1.0, 0.0, 0.0]


def test_memory_lifts_what_is_being_forgotten(
    setting: Callable[..., Setting], pool: Callable[..., Candidates]
) -> None:
    """Two looks at four samples; the one whose loss rises ranks first though its loss is not the highest."""
    looks = [[3.0, 0.1, 1.0, 1.0], [3.0, 2.0, 1.0, 1.0]]
    for forgetting, first in ((0.0, 0), (2.0, 1)):
        selection = Foms(beta=20.0, ratio=21.0, forgetting=forgetting, pace=0.5).build(setting(1, samples=4))
        for losses in looks:
            choice = selection.choose(pool(losses))
        assert choice.indices.tolist() == [first]


def test_hardness_can_vary_at_one_size_of_the_pool() -> None:
    """Kocyigit (2023) figure 4.4, right: five times the batch, for every beta up to where 1 + beta is
    more."""
    assert {Foms(beta=beta, ratio=5.0).ratio for beta in (0.0, 0.5, 1.0, 2.0, 4.0)} == {5.0}
    with pytest.raises(
        RunError, match=r"at least 1 \+ beta = 5\.1 .*; got 5: load more candidates or lower beta"
    ):
        Foms(beta=4.1, ratio=5.0)
