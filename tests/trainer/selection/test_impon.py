"""impon's linear model against the same in numpy, written from its definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import Batch
from trainer.errors import RunError
from trainer.methods import Losses
from trainer.parallel import World
from trainer.selection import Candidates, Setting, Terms
from trainer.selection.impon import Impon, ImponLow

MODEL = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 10))


def norm_of(model: nn.Module) -> float:
    """Frobenius norm of all weight matrices: neither biases nor normalization are any."""
    squares = [(layer.weight.double() ** 2).sum().item() for layer in (model[0], model[3])]  # type: ignore[index]
    return float(np.sqrt(sum(squares)))


def context(images: torch.Tensor, grid: int) -> np.ndarray:
    n, side = len(images), images.shape[-1] // grid
    squares = images.numpy().reshape(n, 3, grid, side, grid, side).mean(axis=(3, 5)).reshape(n, -1)
    return np.concatenate([squares, np.full((n, 1), norm_of(MODEL)), np.ones((n, 1))], axis=1)


@pytest.mark.parametrize("part", [Impon(lr=0.003, grid=2), ImponLow(lr=0.003, grid=2)], ids=["high", "low"])
def test_predicts_chooses_and_learns_as_defined(
    setting: Callable[..., Setting],
    pool: Callable[..., Candidates],
    told: Callable[..., Losses],
    part: Any,
    plain: Callable[[int], Batch],
) -> None:
    generator = torch.Generator().manual_seed(1)
    rng = np.random.default_rng(1)
    selection = part.build(Setting(4, 80, torch.device("cpu"), model=MODEL, budget=0.4))
    w = np.zeros(3 * 2 * 2 + 2)
    for step in range(12):
        images = torch.randn(6, 3, 4, 4, generator=generator)
        rows = context(images, 2)
        choice = selection.choose(pool(images=images))
        predicted = rows @ w
        order = np.argsort(predicted if isinstance(part, ImponLow) else -predicted, kind="stable")
        indices = order[:4]
        assert choice.indices.tolist() == indices.tolist()
        losses = rng.exponential(size=4)
        selection.observe(told(losses), plain(4), choice)
        # d/dw of mean (row w - loss)^2.
        w = w - part.lr * 2 / 4 * rows[indices].T @ (rows[indices] @ w - losses)
        if step != 7:
            np.testing.assert_allclose(selection.state_dict()["weights"].numpy(), w, rtol=2e-3, atol=1e-5)
        selection.end_round()
        # An epoch of the budget is 32 samples, that is 8 batches, whatever a round holds.
        if step == 7:
            w[:] = 0
            assert selection.state_dict()["weights"] is None


def test_begins_each_epoch_without_preference(
    setting: Callable[..., Setting], pool: Callable[..., Candidates]
) -> None:
    selection = Impon().build(setting(3, model=MODEL))
    assert selection.choose(pool(images=torch.randn(5, 3, 4, 4))).indices.tolist() == [0, 1, 2]


def test_learns_to_tell_high_losses_from_low_ones(
    setting: Callable[..., Setting],
    pool: Callable[..., Candidates],
    told: Callable[..., Losses],
    plain: Callable[[int], Batch],
) -> None:
    """Bright images have high losses: after some batches the brightest are chosen."""
    generator = torch.Generator().manual_seed(2)
    selection = Impon(lr=0.01, grid=1).build(setting(4, model=MODEL))
    for _ in range(60):
        brightness = torch.rand(8, generator=generator)
        images = brightness[:, None, None, None].expand(8, 3, 4, 4)
        choice = selection.choose(pool(images=images))
        selection.observe(told(5 * brightness[choice.indices]), plain(4), choice)
    assert sorted(choice.indices.tolist()) == sorted(brightness.argsort(descending=True)[:4].tolist())


def test_reads_the_networks_features_where_asked(
    setting: Callable[..., Setting],
    pool: Callable[..., Candidates],
    told: Callable[..., Losses],
    plain: Callable[[int], Batch],
) -> None:
    part = Impon(inputs="penultimate", lr=0.01)
    assert part.scores
    assert part.features
    assert not Impon().scores
    selection = part.build(setting(2, model=MODEL))
    features = torch.tensor([[0.0], [3.0], [1.0]])
    shown = pool(outputs=torch.zeros(3, 10), labels=torch.zeros(3, dtype=torch.int64), features=features)
    for _ in range(2):
        choice = selection.choose(shown)
        selection.observe(told(features[choice.indices, 0]), plain(2), choice)
    assert selection.choose(shown).indices.tolist() == [1, 2]
    assert len(selection.state_dict()["weights"]) == 3


def test_a_batch_that_was_not_chosen_teaches_nothing(
    setting: Callable[..., Setting],
    pool: Callable[..., Candidates],
    told: Callable[..., Losses],
    plain: Callable[[int], Batch],
) -> None:
    selection = Impon().build(setting(3, model=MODEL))
    selection.choose(pool(images=torch.randn(5, 3, 4, 4)))
    selection.observe(told(np.ones(3)), plain(3), None)
    assert not selection.state_dict()["weights"].any()


@pytest.mark.parametrize(("batch", "ratio"), [(128, 200 / 128), (64, 200 / 64), (200, 1)])
def test_a_bank_holds_200_whatever_the_batch(batch: int, ratio: Any) -> None:
    assert Impon().bind(Terms(0.3, 200, batch)).ratio == ratio
    assert ImponLow(bank=300).bind(Terms(0.3, 200, batch)).ratio * batch == pytest.approx(300)
    assert Impon(ratio=2.0).bind(Terms(0.3, 200, batch)).ratio == 2


def test_a_bank_below_a_batch_is_refused() -> None:
    with pytest.raises(
        RunError, match=r"bank must be at least the batch of 512; got 200: give --selection\.bank 800"
    ):
        Impon().bind(Terms(0.3, 200, 512))


@pytest.mark.parametrize("ranks", [1, 2])
def test_unselected_batches_count_towards_the_epoch(
    pool: Callable[..., Candidates], told: Callable[..., Losses], ranks: int, plain: Callable[[int], Batch]
) -> None:
    """Of 30 samples' epoch: the warm-up's batches of 10 count, of all ranks together."""
    world = World(rank=0, size=ranks)
    selection = Impon(lr=0.01).build(Setting(10 // ranks, 30, torch.device("cpu"), world, MODEL))
    n = 10 // ranks
    for _ in range(2):
        selection.observe(told(np.ones(n)), plain(n), None)
    choice = selection.choose(pool(images=torch.randn(15, 3, 4, 4)))
    assert selection.state_dict()["weights"] is not None
    selection.observe(told(np.ones(n)), plain(n), choice)
    assert selection.state_dict()["weights"] is None


@pytest.mark.parametrize(("loss", "told_of"), [(1.0, True), (np.nan, False)], ids=["model", "network"])
def test_a_linear_model_that_diverges_is_told(
    setting: Callable[..., Setting],
    pool: Callable[..., Candidates],
    told: Callable[..., Losses],
    loss: Any,
    told_of: bool,
    plain: Callable[[int], Batch],
) -> None:
    selection = Impon(lr=1e3).build(setting(4, samples=4000, model=MODEL))
    for _ in range(40):
        choice = selection.choose(pool(images=torch.randn(6, 3, 4, 4)))
        selection.observe(told(np.full(4, loss)), plain(4), choice)
    if told_of:
        with pytest.raises(RunError, match=r"selection\.lr must be low enough .*; got 1000: lower it"):
            selection.end_round()
    else:
        selection.end_round()
