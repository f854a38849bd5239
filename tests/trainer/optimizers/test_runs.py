"""Runs by optimizers with a state of their own: resumed, with a selection and a rate for each layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trainer.config import Run
from trainer.errors import InterruptedRunError
from trainer.session import Session

Recipe = Callable[..., Run]
Train = Callable[..., Session]
Watch = Callable[..., Any]

SHORT: dict[str, Any] = {
    "model": {"name": "resnet8", "width": 4},
    "epochs": 1,
    "budget": 0.4,
    "log_every": 1,
    "threads": 1,
    "precision": "fp32",
    "schedule": "one_cycle",
}


@pytest.mark.parametrize("name", ["adamw", "lamb", "muon"])
def test_a_stopped_run_ends_with_the_same_weights(
    recipe: Recipe, train_run: Train, watch: Watch, name: str
) -> None:
    entries = {**SHORT, "optimizer": {"name": name, "layer_decay": 0.9}, "selection": "foms"}
    whole = train_run(recipe(**entries, name="whole"))
    with pytest.raises(InterruptedRunError):
        train_run(recipe(**entries, name="stopped"), watch(stop_at=3))
    resumed = train_run(recipe(**entries, name="stopped"), again := watch())
    assert again.resumed_at == 3
    assert resumed.fingerprint() == whole.fingerprint()
    ours, theirs = (session.step.optimizer.param_groups for session in (resumed, whole))
    assert [(group["lr"], group["initial_lr"]) for group in ours] == [
        (group["lr"], group["initial_lr"]) for group in theirs
    ]
