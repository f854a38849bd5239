"""A data set whose images are told apart by their gray level, and sessions on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from selecting_sessions import Recipe

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.formats import open_dataset
from pipeline.sources import ArraySource
from trainer.build import build
from trainer.data import Data
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.session import Session
from trainer.warmup import warm_up


@pytest.fixture(scope="session")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """96 images of one gray level each, which is twice the sample's id."""
    path = tmp_path_factory.mktemp("tiles") / "train.beton"
    levels = (2 * np.arange(96)).astype(np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (96, 12, 12, 3)).copy()
    labels = np.arange(96) % 5
    convert(ArraySource("tiles", "train", "levels", tuple("abcde"), labels, images), path, ConvertOptions())
    opened = open_dataset(path)
    return Data(opened, opened)


@pytest.fixture
def session(tiles: Data, recipe: Recipe, tmp_path: Path) -> Callable[..., Session]:
    """Build a session on the tiles, rehearsed, with nothing trained."""

    def make(**entries: Any) -> Session:
        table = {"batch_size": 16, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "precision": "fp32"}
        run = recipe(**{**table, "augment": ["none"], **entries})
        made = build(run, RunFolder(tmp_path / "run", run), tiles, World(), torch.device("cpu"))
        warm_up(made)
        made.begin_round()
        return made

    return make
