"""What the pipeline costs a training step: training from it against the same loop on one fixed batch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import Batch
from pipeline.convert import ConvertOptions, convert
from pipeline.formats import open_dataset
from pipeline.sources import ArraySource
from tools.bench import measure
from trainer import config
from trainer.data import Data
from trainer.device import choose_device
from trainer.parallel import World
from trainer.record import RunFolder
from trainer.session import Session, build
from trainer.warmup import warm_up


@dataclass(frozen=True)
class StepBench:
    """Rate of training from the pipeline, relative to the same loop on one fixed in-memory batch."""

    model: str = "resnet8"
    """Network to train; its width is 16."""

    batch_size: int = 128
    """Images a step."""

    pixels: int = 32
    """Height and width of the images."""

    augment: tuple[str, ...] = ("standard", "ricap", "mixup")
    """Cases step/NAME to measure; mixing goes after the standard augmentation."""

    engine: str = "resident"
    """How images are read."""

    repeats: int = 30
    """Measurements a case; medians are given."""

    steps: int = 10
    """Steps a measurement."""

    device: str = "auto"
    """Where to train."""

    def rows(self) -> list[measure.Row]:
        """One row an augmentation, in images a second; the peer is the fixed batch."""
        with tempfile.TemporaryDirectory(prefix="trainer-bench-") as scratch:
            path = Path(scratch) / "train.beton"
            convert(noise(samples=8192, pixels=self.pixels), path, ConvertOptions())
            opened = open_dataset(path)
            return [self._row(name, Data(opened, opened), Path(scratch) / name) for name in self.augment]

    def _row(self, name: str, data: Data, scratch: Path) -> measure.Row:
        session = self._session(name, data, scratch)
        warm_up(session)
        from_pipeline = endless(session)
        first = session.sampler.next_order()
        fixed = session.plain_chain.apply(next(session.loader.batches(first, plain=True)))

        def pipeline() -> None:
            for _ in range(self.steps):
                step(session, session.chain.apply(next(from_pipeline)))
            session.feedback.drain(0)

        def memory() -> None:
            for _ in range(self.steps):
                step(session, fixed)
            session.feedback.drain(0)

        ours, theirs = measure.interleave([pipeline, memory], self.repeats, warmup=2)
        session.close()
        images = self.steps * self.batch_size
        return measure.Row.compare(f"step/{name}", images / ours, "images/s", "fixed batch", images / theirs)

    def _session(self, name: str, data: Data, scratch: Path) -> Session:
        table = {
            "model": {"name": self.model, "width": 16},
            "augment": [name],
            "engine": self.engine,
            "batch_size": self.batch_size,
            "device": self.device,
            "epochs": 10_000,
            "budget": 1.0,
            "lr": 0.01,
        }
        run = config.from_table(table, where="bench")
        device = choose_device(run.device, World())
        return build(run, RunFolder(scratch, run), data, World(), device)


def noise(samples: int, pixels: int) -> ArraySource:
    """Square images of seeded noise, in ten classes: what is in them bears on no time measured here."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (samples, pixels, pixels, 3), dtype=np.uint8)
    classes = tuple(f"class {i}" for i in range(10))
    return ArraySource("noise", "train", "seeded noise", classes, np.arange(samples) % 10, images)


def step(session: Session, batch: Batch) -> None:
    """One training step with its feedback, as the training loop makes it."""
    session.feedback.add(batch, session.step(batch))


def endless(session: Session) -> Iterator[Batch]:
    """Batches from the loader, order after order."""
    while True:
        yield from session.loader.batches(session.sampler.next_order())
