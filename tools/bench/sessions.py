"""Training sessions for benchmarks, built as by `trainer run`, on noise images."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.formats import open_dataset
from pipeline.sources import ArraySource
from trainer import recipe
from trainer.build import build
from trainer.data import Data
from trainer.hardware.device import choose_device
from trainer.parallel import World
from trainer.parts import StepResult
from trainer.run_folder import RunFolder
from trainer.session import Session
from trainer.warmup import warm_up


def noise(folder: Path, samples: int, pixels: int, levels: tuple[int, ...] = ()) -> Data:
    """Convert square images of seeded noise, in ten classes: content doesn't affect the times measured."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (samples, pixels, pixels, 3), dtype=np.uint8)
    classes = tuple(f"class {i}" for i in range(10))
    source = ArraySource("noise", "train", "seeded noise", classes, np.arange(samples) % 10, images)
    path = folder / "train.beton"
    convert(source, path, ConvertOptions(encoding="raw", levels=levels))
    opened = open_dataset(path)
    return Data(opened, opened)


def warm_session(data: Data, folder: Path, **entries: Any) -> Session:
    """Return a session built from a recipe's entries, after its warm-up."""
    optimizer = {"name": "sgd", "lr": 0.01}
    run = recipe.from_table({"epochs": 10_000, "optimizer": optimizer, **entries}, where="bench")
    session = build(run, RunFolder(folder, run), data, World(), choose_device(run.device, World()))
    warm_up(session)
    return session


def training(session: Session) -> Generator[StepResult, None, None]:
    """Train round after round as the training loop does, one step per item."""
    for current in session.rounds():
        yield from session.steps(current)
        session.finish(current)
