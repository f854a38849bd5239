"""Benchmark of `trainer profile` and `trainer tune`: what they take, and whether tuning finds the best."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from tools.bench import measure
from tools.bench.clock import Clock
from tools.bench.sessions import noise
from tools.profiling.measuring import measure as profile
from tools.profiling.whole import session_at
from tools.tuning.halving import Entry, halve
from tools.tuning.space import space
from trainer.config import Run
from trainer.data import Data
from trainer.recipe import from_table

CASES = ("profile", "tune")


@dataclass(frozen=True)
class ProfileBench:
    """Seconds and overhead of a profile; rate of tuned settings, and the search's time, by a grid's."""

    cases: tuple[str, ...] = CASES
    """Commands to measure."""

    model: str = "resnet8"
    """Network to train."""

    width: int = 16
    """Its width."""

    batch_size: int = 128
    """Images per step."""

    samples: int = 8192
    """Images of the set, of 28 pixels."""

    seconds: float = 20.0
    """Seconds of the profile."""

    tuning: float = 30.0
    """Seconds of the search at most; 120 is what `trainer tune` takes by default."""

    windows: int = 14
    """Windows that the grid measures of each candidate: as many as the search measures of those that stay."""

    compile: bool = False
    """Whether compiled candidates take part; compiling all of a grid's takes many minutes."""

    def __post_init__(self) -> None:
        measure.check_names("cases", self.cases, CASES)

    def rows(self, clock: Clock | None = None) -> list[measure.Row]:
        """Return the rows; the peer of tuning is an exhaustive grid over the same candidates."""
        with tempfile.TemporaryDirectory(prefix="trainer-bench-") as scratch:
            data = noise(Path(scratch), samples=self.samples, pixels=28)
            run = from_table(
                {
                    "data": str(data.train.path),
                    "model": {"name": self.model, "width": self.width},
                    "batch_size": self.batch_size,
                    "device": "cpu",
                },
                where="bench",
            )
            measures = {"profile": self._profile, "tune": self._tune}
            found: list[measure.Row] = []
            for case in (clock or Clock()).cases(self.cases):
                found += measures[case](run, data, Path(scratch))
        return found

    def _profile(self, run: Run, data: Data, scratch: Path) -> list[measure.Row]:
        before = time.perf_counter()
        session = session_at(run, data, 0.5, scratch / "profile")
        try:
            made = profile(session, 0.5, self.seconds)
        finally:
            session.close()
        taken = time.perf_counter() - before
        return [
            measure.Row.compare("profile/seconds", taken, "s", "asked for", self.seconds),
            measure.Row.compare("profile/overhead", made.loop.overhead, "of a step"),
        ]

    def _tune(self, run: Run, data: Data, scratch: Path) -> list[measure.Row]:
        before = time.perf_counter()
        tuned = halve(space(run, data.train), data, 0.5, self.tuning, scratch / "tune", compiles=self.compile)
        taken = time.perf_counter() - before
        candidates = space(run, data.train)
        candidates += space(run, data.train, compiled=True) if self.compile else []
        before = time.perf_counter()
        grid = [Entry(candidate) for candidate in candidates]
        threads = torch.get_num_threads()
        for number, entry in enumerate(grid):
            entry.open(data, 0.5, scratch / f"grid-{number}", threads)
        # In turns: a machine that slows down for a while would else decide between neighbors in the grid.
        for turn in range(self.windows):
            for entry in grid:
                if entry.refused is None:
                    entry.measure(turn)
        for entry in grid:
            entry.close()
        torch.set_num_threads(threads)
        rates = {number: 1 / entry.seconds_per_image for number, entry in enumerate(grid) if entry.windows}
        whole = time.perf_counter() - before
        winner = candidates.index(tuned[0].candidate)
        return [
            # Both by the grid's measurement of them, which knows nothing of the search.
            measure.Row.compare("tune/best", rates[winner], "images/s", "grid", max(rates.values())),
            measure.Row.compare("tune/time", taken / whole, "of the grid"),
        ]
