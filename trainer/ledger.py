"""Ledger: counts of samples trained, scored and evaluated, and times by phase."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pipeline.clock import CLOCK
from trainer.former import phases_now

PHASES = (
    "wait",
    "copy",
    "augment",
    "score",
    "forward",
    "backward",
    "optimize",
    "feedback",
    "sampler",
    "evaluate",
    "checkpoint",
)
"""Phases in their order within a step; the last two are outside the training clock."""

OFF_THE_CLOCK = ("evaluate", "checkpoint")


def _timer() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


class Ledger:
    """Counts and times of one run.

    Attributes
    ----------
    trained_at, scored_at
        Number of samples, keyed by image size.
    score_costs
        Measured cost of scoring a sample relative to training on one at full resolution, keyed by image size.
    forwarded
        Number of samples of further streams used by steps.
    gradients
        Samples whose whole gradient was measured without training, at full resolution.
    evaluated, steps, rounds
        Counts.
    compile_seconds
        Seconds of warm-up and compilation, outside the training clock.
    seconds
        Seconds by phase.

    On a CUDA device the phases that launch kernels are timed with events, which complete asynchronously;
    :meth:`settle` reads them when the caller waits for the device anyway. Other phases are timed with the
    host's clock. On a GPU the host runs ahead, so the sum of phases may be below or above the training clock;
    the clock itself is always wall-clock time.
    """

    def __init__(self, device: torch.device) -> None:
        self.trained_at: dict[int, int] = {}
        self.scored_at: dict[int, int] = {}
        self.score_costs: dict[int, float] = {}
        self.forwarded = 0
        self.gradients = 0
        self.evaluated = 0
        self.steps = 0
        self.rounds = 0
        self.compile_seconds = 0.0
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._on_device = {"augment", "score", "forward", "backward", "optimize"}
        self._cuda = device.type == "cuda"
        self._wall_before = 0.0
        self._started = CLOCK.now()

    @property
    def trained(self) -> int:
        """Samples trained, at all resolutions."""
        return sum(self.trained_at.values())

    @property
    def scored(self) -> int:
        """Samples scored, at all resolutions."""
        return sum(self.scored_at.values())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Return a context whose time is added to phase ``name``."""
        if self._cuda and name in self._on_device:
            start, end = _timer(), _timer()
            start.record()
            try:
                yield
            finally:
                end.record()
                self._events.append((name, start, end))
            return
        before = CLOCK.now()
        try:
            yield
        finally:
            self.seconds[name] += CLOCK.now() - before

    def add(self, name: str, seconds: float) -> None:
        """Add seconds measured elsewhere."""
        self.seconds[name] += seconds

    def settle(self) -> None:
        """Read the events of the device's phases; waits for the last one."""
        if self._events:
            self._events[-1][2].synchronize()
        for name, start, end in self._events:
            self.seconds[name] += start.elapsed_time(end) / 1e3
        self._events.clear()

    @property
    def wall_seconds(self) -> float:
        """Seconds since the clock was started, including sessions before a resume and excluding set-up."""
        return self._wall_before + CLOCK.now() - self._started

    @property
    def train_seconds(self) -> float:
        """Return the training clock: wall-clock seconds without evaluation and checkpoints."""
        return self._on_the_clock(self.wall_seconds)

    def _on_the_clock(self, wall: float) -> float:
        return wall - sum(self.seconds[name] for name in OFF_THE_CLOCK)

    def start_clock(self) -> None:
        """Start the clock, after set-up and warm-up."""
        self._started = CLOCK.now()

    @property
    def stall(self) -> float:
        """Return the fraction of the training clock in which training waited for data."""
        return self.seconds["wait"] / self.train_seconds if self.train_seconds > 0 else 0.0

    def summary(self) -> dict[str, Any]:
        """Return the current ledger, as in ledger.json."""
        state = self.state_dict()
        clock = self._on_the_clock(state["wall_seconds"])
        return {
            **state,
            "trained": self.trained,
            "scored": self.scored,
            "train_seconds": clock,
            "stall": self.seconds["wait"] / clock,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the counts and times so far, for a checkpoint."""
        self.settle()
        return {
            "trained_at": {str(pixels): count for pixels, count in sorted(self.trained_at.items())},
            "scored_at": {str(pixels): count for pixels, count in sorted(self.scored_at.items())},
            "score_costs": {str(pixels): cost for pixels, cost in sorted(self.score_costs.items())},
            "forwarded": self.forwarded,
            "gradients": self.gradients,
            "evaluated": self.evaluated,
            "steps": self.steps,
            "rounds": self.rounds,
            "compile_seconds": self.compile_seconds,
            "wall_seconds": self.wall_seconds,
            "phases": dict(self.seconds),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint's counts and times."""
        for name in ("trained_at", "scored_at", "score_costs"):
            setattr(self, name, {int(pixels): value for pixels, value in state[name].items()})
        for name in ("forwarded", "gradients", "evaluated", "steps", "rounds", "compile_seconds"):
            setattr(self, name, state[name])
        self.seconds = phases_now(state["phases"])
        self._wall_before = state["wall_seconds"]
        self._started = CLOCK.now()
