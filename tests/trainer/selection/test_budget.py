"""Spending of runs with a selection: every pass counted, the budget met exactly, candidates in proportion."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainer.config import Run
from trainer.selection import SELECTIONS, Candidates, Choice
from trainer.session import Session

Recipe = Callable[..., Run]
Train = Callable[..., Session]
Watch = Callable[..., Any]

SMALL = {"name": "resnet8", "width": 4}


class Counter:
    """Counts the samples that really pass through the network, from the start of training on."""

    def __init__(self, watcher: Any) -> None:
        self._watcher = watcher
        self.graded = self.ungraded = self.backward = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watcher, name)

    def started(self, session: Session, resumed: bool) -> None:
        session.encoder.get_classifier().register_forward_hook(self._forward)  # type: ignore[operator]
        if session.selector.own is not None:
            session.selector.own.network.register_forward_hook(self._scored)
        self._watcher.started(session, resumed)

    def _forward(self, module: nn.Module, given: Any, outputs: torch.Tensor) -> None:
        if torch.is_grad_enabled():
            self.graded += len(outputs)
            outputs.register_hook(self._backward)
        else:
            self.ungraded += len(outputs)

    def _scored(self, module: nn.Module, given: Any, outputs: torch.Tensor) -> None:
        # Steps of a selection's own network are part of the cost of scoring.
        self.ungraded += len(outputs) * (not torch.is_grad_enabled())

    def _backward(self, gradient: torch.Tensor) -> None:
        self.backward += len(gradient)


@pytest.mark.parametrize("counts", ["trained", "compute"])
@pytest.mark.parametrize("name", sorted(set(SELECTIONS) - {"rho_loss", "hard_augment"}))
def test_the_ledger_counts_every_pass_and_the_budget_is_spent_exactly(
    recipe: Recipe, train_run: Train, watch: Watch, name: str, counts: str
) -> None:
    # So short a run's first epoch would be all of it.
    options = {"start": 0.025, "keep": 0.3} if name == "selective_backprop" else {}
    run = recipe(
        selection={"name": name, **options},
        counts=counts,
        epochs=1,
        budget=0.5,
        batch_size=32,
        evaluate_every=100,
        model=SMALL,
    )
    counter = Counter(watch())
    session = train_run(run, counter)
    ledger = json.loads((session.folder.path / "ledger.json").read_text())
    assert counter.graded == counter.backward == ledger["trained"]
    assert counter.ungraded == ledger["scored"] + ledger["evaluated"]
    # gradient_norm scores only once that is estimated to pay, which so short a run doesn't reach.
    assert (ledger["scored"] > 0) == (run.selection.scores and name != "gradient_norm")
    if counts == "trained":
        assert ledger["trained"] == ledger["spent"] == 640
    else:
        cost = ledger["score_cost"] or 0.0
        assert ledger["spent"] == pytest.approx(ledger["trained"] + cost * ledger["scored"])
        # No step's worth is left, and nothing is overdrawn.
        assert 640 - 32 < ledger["spent"] <= 640 + 1e-6
    lines = session.folder.read("steps.jsonl")
    assert lines[-1]["lr"] == pytest.approx(1e-6)
    assert session.samples.times_seen.sum() == ledger["trained"]


class Pools:
    """Keeps what selective_backprop is shown of each pool, and what it keeps of it."""

    def __init__(self, watcher: Any) -> None:
        self._watcher = watcher
        self.losses: list[np.ndarray] = []
        self.uniforms: list[np.ndarray] = []
        self.indices: list[np.ndarray] = []
        self.trained: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watcher, name)

    def started(self, session: Session, resumed: bool) -> None:
        selection = session.selector.selection
        choose = selection.choose

        def chosen(candidates: Candidates) -> Choice:
            choice = choose(candidates)
            assert candidates.losses is not None
            self.losses.append(candidates.losses.loss[:, 0].numpy().copy())
            self.uniforms.append(candidates.uniforms[:, 0].numpy().copy())
            self.indices.append(choice.indices.numpy().copy())
            self.trained.append(session.ledger.trained)
            return choice

        selection.choose = chosen  # type: ignore[method-assign]
        self._watcher.started(session, resumed)

    def by_definition(self, power: int) -> list[np.ndarray]:
        """Return which places of each pool have a uniform below [F_R(loss)]^power, R = 1,024."""
        past, kept = np.empty(0, np.float32), []
        for losses, uniforms in zip(self.losses, self.uniforms, strict=True):
            past = np.append(past, losses)[-1024:]
            at_most = (past <= losses[:, None]).sum(axis=1)
            # Uniforms are multiples of 2^-24: in whole numbers no rounding decides where one equals a chance.
            words = (uniforms * 2.0**24).astype(np.int64)
            kept.append(np.flatnonzero(words * len(past) ** power < at_most**power << 24))
        return kept


FOLLOWING = {"selection": "selective_backprop", "sampler": "scan", "model": SMALL, "evaluate_every": 100}


@pytest.mark.parametrize("budget", [0.5, 0.25])
def test_selective_backprop_follows_the_budget(
    recipe: Recipe, train_run: Train, watch: Watch, budget: float
) -> None:
    """One epoch of 1,280 as it comes, then pools of 1 / B batches until the budget is full, and no more."""
    pools = Pools(watch())
    run = recipe(**FOLLOWING, epochs=8, budget=budget)
    ledger = json.loads((train_run(run, pools).folder.path / "ledger.json").read_text())
    total = round(8 * budget * 1280)
    assert ledger["trained"] == total
    assert ledger["scored"] == sum(map(len, pools.losses))
    assert {len(losses) for losses in pools.losses} == {round(64 / budget)}
    kept = np.cumsum([len(indices) for indices in pools.indices])
    # Whole batches of what was kept before; the last pool is the first that fills the last batch.
    assert pools.trained == [1280 + int(before) // 64 * 64 for before in (0, *kept[:-1])]
    assert kept[-2] < total - 1280 <= kept[-1]
    for indices, expected in zip(pools.indices, pools.by_definition(round(1 / budget) - 1), strict=True):
        np.testing.assert_array_equal(indices, expected)


def test_a_network_that_does_not_learn_has_1_over_b_candidates_scored_per_sample(
    recipe: Recipe, train_run: Train
) -> None:
    # Losses that fall lie low among the last 1,024, and fewer than B of them are kept; these stay.
    still = {"optimizer": {"name": "sgd", "lr": 1e-30}, "scoring": "train"}
    run = recipe(**FOLLOWING, **still, epochs=8, budget=0.5)
    ledger = json.loads((train_run(run).folder.path / "ledger.json").read_text())
    # The standard deviation of the samples scored until 3,840 are kept by tosses of a coin is 88.
    assert ledger["scored"] == pytest.approx((5120 - 1280) / 0.5, abs=4.9 * 88)


def test_a_lower_resolution_is_charged_by_its_flops(recipe: Recipe, train_run: Train) -> None:
    progressive = {"name": "progressive", "lowest": 14, "step": 14}
    settings = {"resolution": progressive, "model": SMALL, "evaluate_every": 100}
    run = recipe(**settings, counts="compute", epochs=4, budget=0.5, name="compute")
    ledger = json.loads((train_run(run).folder.path / "ledger.json").read_text())
    assert set(ledger["trained_at"]) == {"14", "28"}
    low, high = ledger["trained_at"]["14"], ledger["trained_at"]["28"]
    quarter = (ledger["spent"] - high) / low
    # A quarter of the pixels costs a quarter, but for the last maps: 7 pixels are halved to 4.
    assert quarter == pytest.approx(0.25, abs=0.03)
    assert low > 2.5 * high
    assert ledger["spent"] <= 2560 < ledger["spent"] + 64
    assert ledger["flops"] == pytest.approx(3 * ledger["forward_flops"] * ledger["spent"])
    trained = recipe(**settings, epochs=4, budget=0.5, name="trained")
    ledger = json.loads((train_run(trained).folder.path / "ledger.json").read_text())
    assert ledger["trained"] == ledger["spent"] == 2560
    assert ledger["compute"] < 2560


def test_a_scans_orders_last_where_resolution_grows(recipe: Recipe, train_run: Train) -> None:
    """A scan's rounds are whole epochs: of a round begun at few pixels more samples fit into the compute."""
    progressive = {"name": "progressive", "lowest": 14, "step": 14}
    run = recipe(model=SMALL, sampler="scan", resolution=progressive, counts="compute", epochs=4, budget=0.3)
    ledger = json.loads((train_run(run).folder.path / "ledger.json").read_text())
    assert 1536 - 64 < ledger["spent"] <= 1536
