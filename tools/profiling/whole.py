"""The whole training loop of a run, built as by `trainer run`, after warm-up, at any point of its budget."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import torch

from pipeline.clock import CLOCK
from pipeline.recording import Mark, Recorder
from tools.profiling.timing import wait_for
from trainer import config
from trainer.budget.planning import steps_of
from trainer.build import build
from trainer.data import Data
from trainer.errors import RunError
from trainer.hardware.device import choose_device
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.session import Session
from trainer.settings.rules import MOST_EPOCHS
from trainer.warmup import warm_up

_STEPS = 100_000
"""Steps of an assumed budget, so that the steps of a profile don't advance the run's schedules."""

LEAST_STEPS = 5
"""Steps that a run must have to be profiled: while the loader gets ahead, and those of a window."""

_LEAST = 2
_SECONDS = 0.4
"""Minimum number of steps in a window of the loop, and its approximate seconds."""

DRAINED = 0.05
"""Part of a window that the device still works after the host's last launch; below it the host is slower."""


def session_at(run: config.Run, data: Data, progress: float, scratch: Path) -> Session:
    """Return a run's session after warm-up, with its next round begun at ``progress`` of the budget.

    Raises
    ------
    RunError, DataError, SamplingError
        If the run could not start, or is shorter than a measurement.
    """
    steps = steps_of(run, len(data.train))
    if steps is not None and steps < LEAST_STEPS:
        raise RunError(
            f"a run must have at least {LEAST_STEPS} steps to be measured; this one has {steps}, of "
            f"{run.batch_size:,} images each: raise --budget or --epochs, or lower --batch-size"
        )
    epochs = min(MOST_EPOCHS, _STEPS * run.batch_size / (run.budget * len(data.train)))
    held = replace(run, epochs=max(run.epochs, epochs), budget_hours=None, budget_clock="training")
    world = World()
    session = build(held, RunFolder(scratch, held), data, world, choose_device(run.device, world))
    try:
        warm_up(session)
        session.account.charge("trained", round(progress * session.account.total), session.full)
        session.ledger.start_clock()
        session.begin_round()
    except BaseException:
        session.close()
        raise
    return session


@dataclass(frozen=True, slots=True)
class Window:
    """Some steps in a row.

    Attributes
    ----------
    seconds
        Per step, from a device without work to a device without work.
    phases
        Seconds per step by phase.
    steps
        Seconds of each step.
    drained
        Fraction of the window for which the device still worked when the host had launched all; 0 on a CPU.
    recorder, began
        What was recorded, and the clock at its beginning; None for a window that wasn't.
    """

    seconds: float
    phases: dict[str, float]
    steps: list[float]
    drained: float = 0.0
    recorder: Recorder | None = None
    began: float = 0.0


@dataclass(slots=True)
class Loop:
    """Windows of the training loop, one recorded after each that isn't; between them no loader thread runs.

    Attributes
    ----------
    threads
        CPU threads within an operation.
    windows, recorded
        The windows so far.
    """

    session: Session
    threads: int = field(default_factory=torch.get_num_threads)
    windows: list[Window] = field(default_factory=list)
    recorded: list[Window] = field(default_factory=list)
    _steps: int = _LEAST

    def __call__(self) -> dict[str, float]:
        """Return seconds per step of a window: in all, waiting for data, and outside of all phases."""
        plain, recorded = self.window(), self.window(Recorder())
        self.windows.append(plain)
        self.recorded.append(recorded)
        rest = max(0.0, plain.seconds - sum(plain.phases.values()))
        return {"loop": plain.seconds, "wait": plain.phases["wait"], "rest": rest}

    def window(self, recorder: Recorder | None = None) -> Window:
        """Make some steps; the first ones, in which the loader starts to prefetch, are not timed."""
        session, ledger, device = self.session, self.session.ledger, self.session.device
        untimed = 1 if self._steps == _LEAST else 3
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with closing(training_steps(session)) as steps:
            for _ in range(untimed):
                next(steps)
            session.collect()
            ledger.settle()
            wait_for(device)
            ledger.spans = recorder
            session.loader.record(recorder)
            try:
                phases, began = dict(ledger.seconds), CLOCK.now()
                marks = [Mark(device)]
                before = time.perf_counter()
                for _ in range(self._steps):
                    if recorder is not None:
                        recorder.step = ledger.steps + 1
                    next(steps)
                    marks.append(Mark(device))
                launched = time.perf_counter()
                wait_for(device)
                drained = time.perf_counter() - launched
                session.collect()
                ledger.settle()
                taken = time.perf_counter() - before
            finally:
                ledger.spans = None
                session.loader.record(None)
        spent = {name: (ledger.seconds[name] - seconds) / self._steps for name, seconds in phases.items()}
        of_each = [before.until(after) for before, after in pairwise(marks)]
        made = Window(taken / self._steps, spent, of_each, drained / taken, recorder, began)
        self._steps = max(_LEAST, min(session.run.log_every, math.ceil(_SECONDS / made.seconds)))
        return made

    @property
    def usual(self) -> dict[str, float]:
        """Seconds per step by phase in the median window; with "rest", of none, they sum to its step.

        Of an even number of windows it is the mean of the two in the middle. The first one is the warm-up's.
        """
        ranked = sorted(self.windows[1:] or self.windows, key=lambda window: window.seconds)
        middle = ranked[(len(ranked) - 1) // 2 : len(ranked) // 2 + 1]
        phases = {
            name: statistics.fmean(window.phases[name] for window in middle) for name in middle[0].phases
        }
        return {
            **phases,
            "rest": statistics.fmean(window.seconds for window in middle) - sum(phases.values()),
        }

    @property
    def step_seconds(self) -> list[float]:
        """Seconds of every step of the windows that weren't recorded."""
        return [seconds for window in self.windows for seconds in window.steps]

    @property
    def host_bound(self) -> bool:
        """Whether a device has no work left when the host has launched a window's last kernels."""
        if self.session.device.type == "cpu":
            return False
        return statistics.median(window.drained for window in self.windows) < DRAINED

    @property
    def overhead(self) -> float:
        """Fraction of a step that recording it takes, by the recorders' own clocks.

        The difference between windows with and without a recorder is some thousandths at most, and theirs
        between each other some hundredths.
        """
        shares = [
            window.recorder.seconds / (len(window.steps) * window.seconds)
            for window in self.recorded
            if window.recorder is not None
        ]
        return statistics.median(shares)


def training_steps(session: Session) -> Generator[None, None, None]:
    """Train as the training loop does, one step per item, without changing the weights."""
    # With a learning rate of 0 steps cost the same, and no loss diverges for lack of a warm-up.
    for group in session.step.optimizer.param_groups:
        group["initial_lr"] = 0.0
    for current in session.rounds():
        for _ in session.steps(current):
            yield
        session.finish(current)
