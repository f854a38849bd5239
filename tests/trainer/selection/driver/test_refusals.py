"""Selections that can't work with a run's other parts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from selecting_sessions import Recipe

from trainer.build import build
from trainer.data import Data
from trainer.errors import RunError
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.selection.pool import Rows
from trainer.session import Session


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        (
            {"selection": "foms", "batch_size": 64},
            "foms loads 128 .* lower --batch-size or --selection.ratio$",
        ),
        ({"selection": "impon"}, "impon loads 200 .* lower --batch-size or --selection.bank$"),
        (
            {"selection": "selective_backprop", "budget": 0.1, "epochs": 100},
            "selective_backprop loads 160 .* lower --batch-size, or raise --selection.keep$",
        ),
    ],
)
def test_more_candidates_than_samples_are_refused(
    session: Callable[..., Session], entries: dict[str, Any], line: str
) -> None:
    with pytest.raises(RunError, match="candidates per step, and this set has 96 samples") as caught:
        session(**entries)
    assert re.search(line, str(caught.value))


def test_a_selection_of_varying_size_is_refused_on_several_ranks(
    tiles: Data, recipe: Recipe, tmp_path: Path
) -> None:
    run = recipe(selection="selective_backprop", batch_size=8)
    with pytest.raises(RunError, match=r"differs between ranks.*use selective_backprop_exact, foms"):
        build(run, RunFolder(tmp_path / "run", run), tiles, World(0, 2), torch.device("cpu"))


def test_features_of_a_network_without_an_encoders_verbs_are_refused(session: Callable[..., Session]) -> None:
    with pytest.raises(RunError, match=r"features are those of a network with .* SqueezeNet lacks them"):
        session(
            model={"name": "torchvision", "arch": "squeezenet1_1"},
            selection="divbs",
            resolution={"name": "constant", "pixels": 32},
        )


def test_waiting_samples_keep_their_weights_whatever_order_they_come_from() -> None:
    def rows(count: int, weights: torch.Tensor | None) -> Rows:
        targets = {"label": torch.zeros(count, dtype=torch.int64)}
        return Rows(np.arange(count), torch.zeros(count, 3, 2, 2), targets, weights)

    weighted, plain = rows(2, torch.tensor([0.5, 2.0])), rows(1, None)
    assert (weighted + plain).weights.tolist() == [0.5, 2.0, 1.0]
    assert (plain + weighted).weights.tolist() == [1.0, 0.5, 2.0]
    assert (plain + plain).weights is None


def test_a_model_that_cannot_take_a_resolution_is_refused(session: Callable[..., Session]) -> None:
    with pytest.raises(RunError, match=r"must take images of \d+ pixels"):
        session(
            model={"name": "torchvision", "arch": "vit_b_16", "image_size": 32},
            resolution={"name": "progressive", "lowest": 6},
        )
