"""Rates that the loop sets before a step: each group's rate, and momentum if it has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from trainer.config import Run
from trainer.optimizers import OPTIMIZERS, SGD
from trainer.optimizers.depths import NamedParameters
from trainer.session import Session

Recipe = Callable[..., Run]
Train = Callable[..., Session]

SHORT: dict[str, Any] = {
    "model": {"name": "resnet8", "width": 4},
    "epochs": 1,
    "budget": 0.25,
    "schedule": {"name": "one_cycle", "final": 0.125, "high_momentum": 0.75, "low_momentum": 0.5},
}


@dataclass(frozen=True)
class TwoRates(SGD):
    """An optimizer whose second group begins at a tenth of the rate, and that keeps its own momentum."""

    momentum_key: ClassVar[str | None] = None

    def build(
        self, parameters: NamedParameters, depths: Mapping[str, int] | None = None
    ) -> torch.optim.Optimizer:
        optimizer = super().build(parameters, depths)
        last = optimizer.param_groups[-1]
        last["lr"] = last["initial_lr"] = self.lr / 10
        return optimizer


def test_each_group_has_its_own_rate_and_keeps_its_momentum_without_a_key(
    recipe: Recipe, train_run: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OPTIMIZERS, "two_rates", TwoRates)
    session = train_run(recipe(optimizer={"name": "two_rates", "lr": 0.5}, **SHORT))
    first, second = session.step.optimizer.param_groups
    assert (first["lr"], second["lr"]) == (0.5 * 0.125, 0.05 * 0.125)
    assert (first["initial_lr"], second["initial_lr"]) == (0.5, 0.05)
    assert (first["momentum"], second["momentum"]) == (0.9, 0.9)
    assert session.folder.read("steps.jsonl")[-1]["lr"] == 0.5 * 0.125


def test_a_schedules_momentum_is_the_first_of_adams_betas(recipe: Recipe, train_run: Train) -> None:
    session = train_run(recipe(optimizer={"name": "adamw", "betas": [0.25, 0.99]}, **SHORT))
    assert {group["betas"] for group in session.step.optimizer.param_groups} == {(0.75, 0.99)}


def test_a_schedules_momentum_goes_where_the_optimizer_has_it(recipe: Recipe, train_run: Train) -> None:
    session = train_run(recipe(optimizer={"name": "sgd", "momentum": 0.25}, **SHORT))
    assert [group["momentum"] for group in session.step.optimizer.param_groups] == [0.75, 0.75]
