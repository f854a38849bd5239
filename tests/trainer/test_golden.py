"""Golden losses: a change that is not meant to change the computation leaves them alone.

They are taken in double precision: weights, images from normalization on, losses, the optimizer's state. In
single precision, kernels of different processors round differently, and twenty steps make percents of that.
In double precision the same roundings stay below 1e-13, and the smallest change of the method is far above.

Single precision remains where it is the contract, on every processor alike: gray levels before normalization
are whole numbers; draws are whole numbers, or coefficients rounded to float32 from double precision; feedback
is rounded to the float32 of the samplers' tables. Such a rounding makes another number, and a choice among
samples another choice, only where doubles that agree to nine digits lie on two sides of a bound.

After a change that is meant to change them, ``GOLDEN=write`` in the environment writes them again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.augment import AUGMENTS
from pipeline.augment.ricap import Ricap
from samplers import SAMPLERS
from trainer.config import Run
from trainer.models import MODELS
from trainer.models.resnet import ResNet, ResNet8
from trainer.optimizers import SGD
from trainer.selection import SELECTIONS
from trainer.session import Session

PATH = Path(__file__).with_name("golden_losses.json")
TOLERANCE = 1e-7
"""Relative: far above what instruction sets make of the same method, far below what a change of it makes."""

SETTINGS: dict[str, Any] = {
    "model": {"name": "resnet8", "width": 4},
    "epochs": 2,
    "budget": 0.25,
    "round_length": 0.5,
    "batch_size": 32,
    "log_every": 1,
    "evaluate_every": 9,
    "precision": "fp64",
    "augment": ["ricap"],
    "optimizer": {"name": "sgd", "decay": "all"},
}
"""Twenty steps in four rounds: orders and selections go by what the network made of earlier ones."""

SELF_SUPERVISED: tuple[dict[str, Any], ...] = (
    {"name": "simsiam", "out": 16, "bottleneck": 8},
    {"name": "byol", "hidden": 16, "out": 8},
    {"name": "simclr", "out": 8},
    {"name": "moco", "out": 8, "queue": 128},
    {"name": "dino", "hidden": 16, "bottleneck": 8, "out": 32, "frozen": 0.2},
)
"""Methods without labels, with heads as small as the encoder."""
SMALL_VIEWS = {"evaluator": "knn", "augment": ["ssl"], "resolution": {"name": "constant", "pixels": 0.5}}

# Irreducible losses have to be made by a run of their own first: tests/trainer/test_importance.py.
RUNS: dict[str, dict[str, Any]] = {
    **{name: {"sampler": name} for name in SAMPLERS},
    **{f"selection {name}": {"selection": name} for name in SELECTIONS if name not in ("all", "rho_loss")},
    # By default from the second epoch on, and this is one.
    "selection selective_backprop": {"selection": {"name": "selective_backprop", "start": 0.1, "keep": 0.5}},
    "selection progressive": {"resolution": {"name": "progressive", "lowest": 0.5}, "augment": ["ssl"]},
    **{f"method {method['name']}": {"method": method, **SMALL_VIEWS} for method in SELF_SUPERVISED},
    # Half of the set is labelled: twice the epochs are as many steps.
    "method ubn": {
        "method": "ubn",
        "labelled": 0.5,
        "epochs": 4,
        "streams": {"unlabelled": {"data": "rest"}},
    },
    "selection hard_augment": {
        **SMALL_VIEWS,
        "method": SELF_SUPERVISED[0],
        "selection": {"name": "hard_augment", "m": 3, "pixels": 8},
    },
}

Recipe = Callable[..., Run]
Train = Callable[..., Session]
Watch = Callable[..., Any]


@pytest.fixture
def losses(recipe: Recipe, train_run: Train, watch: Watch) -> Callable[..., list[float]]:
    """Train one of the runs, with changes, and return each step's loss."""

    def make(name: str, **changes: Any) -> list[float]:
        threads = int(os.environ.get("GOLDEN_THREADS", "1"))
        run = replace(recipe(threads=threads, **{**SETTINGS, **RUNS[name]}), **changes)
        watcher = watch()
        train_run(run, watcher)
        found: list[float] = watcher.losses
        return found

    return make


def _golden() -> dict[str, list[float]]:
    read: dict[str, list[float]] = json.loads(PATH.read_text())
    return read


def _deviation(found: list[float], name: str) -> float:
    """The largest relative difference from the golden losses."""
    assert np.isfinite(found).all()
    return float(np.abs(np.divide(found, _golden()[name]) - 1).max())


@pytest.mark.parametrize("name", RUNS)
def test_losses_are_the_golden_ones(losses: Callable[..., list[float]], name: str) -> None:
    found = losses(name)
    assert len(found) == 20
    if os.environ.get("GOLDEN") == "write":
        PATH.write_text(json.dumps({**_golden(), name: found}, indent=1) + "\n")
    assert _deviation(found, name) < TOLERANCE


def test_the_file_holds_these_runs_and_no_others() -> None:
    assert set(_golden()) == set(RUNS)


# --- What must break them --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exchanged(Ricap):
    """RICAP with two of its draws exchanged: the rows that crops begin at, and the columns."""

    def draw(self, keys: Any, height: int, width: int) -> Any:
        drawn = super().draw(keys, height, width)
        w, h = drawn["width"], drawn["height"]
        columns = np.stack([width - w, w, width - w, w], axis=1)
        rows = np.stack([height - h, height - h, h, h], axis=1)
        left, top = np.minimum(drawn["top"], columns), np.minimum(drawn["left"], rows)
        assert (left != drawn["left"]).any()
        return {**drawn, "left": left, "top": top}


@dataclass(frozen=True)
class Nudged(ResNet8):
    """A ResNet-8 one of whose weights begins 1e-4 off."""

    module: str = "stem.0"

    def build(self, classes: int) -> ResNet:
        model = super().build(classes)
        with torch.no_grad():
            model.get_submodule(self.module).weight.view(-1)[7] += 1e-4  # type: ignore[operator]
        return model


def test_two_draws_exchanged_break_them(
    losses: Callable[..., list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AUGMENTS, "exchanged", Exchanged)
    assert _deviation(losses("scan", augment=(AUGMENTS["standard"](), Exchanged())), "scan") > 100 * TOLERANCE


@pytest.mark.parametrize("module", ["stem.0", "blocks.1.conv2", "blocks.2.norm1", "head"])
def test_one_weight_off_by_a_ten_thousandth_breaks_them(
    losses: Callable[..., list[float]], monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(MODELS, "nudged", Nudged)
    assert _deviation(losses("scan", model=Nudged(width=4, module=module)), "scan") > 100 * TOLERANCE


def test_a_learning_rate_off_by_a_ten_thousandth_breaks_them(losses: Callable[..., list[float]]) -> None:
    assert _deviation(losses("scan", optimizer=SGD(lr=0.1 * (1 + 1e-4), decay="all")), "scan") > TOLERANCE
