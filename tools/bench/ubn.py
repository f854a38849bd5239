"""Benchmark of unsupervised batch normalization: its step's time and memory, against a plain step's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.clock import Clock
from tools.bench.measure import Row, check_names, interleave
from tools.bench.sessions import noise, warm_session
from tools.profiling.components import Stages
from tools.profiling.memory_curve import curve_of
from tools.profiling.timing import wait_for
from trainer.data import Data
from trainer.session import Session

CASES = ("step", "memory")


@dataclass(frozen=True)
class UbnBench:
    """Costs of a step with unsupervised batch normalization, in plain steps of as many labelled images.

    ubn/step is the step's time in plain ones, over what its passes come to: (|x| + |y| + 3|x|) / 3|x| for x
    labelled and y unlabelled images (Kocyigit 2023, section 2.3.2). ubn/memory is the most bytes that a
    step's tensors hold at once; the peer is a plain step.
    """

    cases: tuple[str, ...] = CASES
    """Cases to measure."""

    model: str = "resnet18"
    """Network."""

    width: int = 16
    """Its width."""

    pixels: int = 32
    """Size of the images."""

    batch_size: int = 64
    """Labelled images per step."""

    ratio: float = 1.0
    """Unlabelled images per labelled one."""

    repeats: int = 30
    """Measurements per case; medians are reported."""

    device: str = "auto"
    """Device to measure on."""

    def __post_init__(self) -> None:
        check_names("cases", self.cases, CASES)

    def rows(self, clock: Clock | None = None) -> list[Row]:
        """Return the rows of the cases."""
        clock = clock or Clock()
        with tempfile.TemporaryDirectory(prefix="trainer-bench-") as scratch:
            train = noise(Path(scratch), 8 * self.batch_size, self.pixels).train
            streamed = Data(train, train, streams={"unlabelled": train})
            stream = {"unlabelled": {"data": str(train.path), "ratio": self.ratio}}
            with (
                self._stages(Data(train, train), Path(scratch) / "plain") as (plain, plainly),
                self._stages(streamed, Path(scratch) / "ubn", method="ubn", streams=stream) as (ours, mine),
            ):
                found = []
                for case in clock.cases(self.cases):
                    if case == "step":
                        found.append(self._step(plainly, mine, clock, ours))
                    else:
                        peaks = [_peak(ours, mine), _peak(plain, plainly)]
                        found.append(Row.compare("ubn/memory", peaks[0], "bytes", "plain step", peaks[1]))
        return found

    def _step(self, plainly: Stages, mine: Stages, clock: Clock, session: Session) -> Row:
        def timed(stages: Stages) -> None:
            stages.train()
            wait_for(session.device)

        measured = interleave([lambda: timed(mine), lambda: timed(plainly)], self.repeats, clock=clock)
        expected = (4 + self.ratio) / 3
        return Row.compare("ubn/step", measured[0] / measured[1] / expected, "of the arithmetic")

    @contextmanager
    def _stages(self, data: Data, folder: Path, **entries: Any) -> Iterator[tuple[Session, Stages]]:
        session = warm_session(
            data,
            folder,
            model={"name": self.model, "width": self.width},
            batch_size=self.batch_size,
            device=self.device,
            budget=1.0,
            **entries,
        )
        try:
            session.begin_round()
            stages = Stages(session)
            try:
                yield session, stages
            finally:
                stages.close()
        finally:
            session.close()


def _peak(session: Session, stages: Stages) -> float:
    stages.train()
    curve = curve_of(session, stages.train)
    assert curve is not None
    return float(max(sum(values) for values in zip(*curve.owners.values(), strict=True)))
