"""Benchmark of the pipeline's overhead: training from it against the same loop on one fixed batch."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.bench import measure
from tools.bench.clock import Clock
from tools.bench.sessions import noise, training, warm_session
from trainer.data import Data
from trainer.selection.driver import Ready


@dataclass(frozen=True)
class StepBench:
    """Rate of training from the pipeline, relative to the same loop on one fixed in-memory batch."""

    model: str = "resnet8"
    """Network to train."""

    width: int = 16
    """Its width."""

    compile: bool = False
    """Compile the training step."""

    batch_size: int = 128
    """Images per step."""

    pixels: int = 32
    """Height and width of the images."""

    augment: tuple[str, ...] = ("standard", "ricap", "mixup")
    """Augmentations to measure, as cases step/NAME; mixing is applied after the standard augmentation."""

    engine: str = "resident"
    """Engine that reads the images."""

    repeats: int = 30
    """Measurements per case; medians are reported."""

    steps: int = 10
    """Steps per measurement."""

    device: str = "auto"
    """Device to train on."""

    def rows(self, clock: Clock | None = None) -> list[measure.Row]:
        """Return one row per augmentation, in images per second; the peer is the fixed batch."""
        with tempfile.TemporaryDirectory(prefix="trainer-bench-") as scratch:
            data = noise(Path(scratch), samples=8192, pixels=self.pixels)
            clock = clock or Clock()
            return [self._row(name, data, Path(scratch) / name, clock) for name in clock.cases(self.augment)]

    def _row(self, name: str, data: Data, folder: Path, clock: Clock) -> measure.Row:
        session = warm_session(
            data,
            folder,
            model={"name": self.model, "width": self.width},
            compile=self.compile,
            augment=[name],
            engine=self.engine,
            batch_size=self.batch_size,
            device=self.device,
            budget=1.0,
        )
        view, steps = session.view, training(session)
        session.begin_round()
        assert session.order is not None
        fixed = next(session.loader.batches(session.order, augment=view.augmentation, stage=view.stage))

        def pipeline() -> None:
            for _ in range(self.steps):
                next(steps)
            session.collect()

        def memory() -> None:
            for _ in range(self.steps):
                session.train(Ready(fixed))
            session.collect()

        ours, theirs = measure.interleave([pipeline, memory], self.repeats, warmup=2, clock=clock)
        session.close()
        images = self.steps * self.batch_size
        return measure.Row.compare(f"step/{name}", images / ours, "images/s", "fixed batch", images / theirs)
