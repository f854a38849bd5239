"""Clock that excludes the time in which the process is stopped, and the times of phases by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

TICK = 0.2
LONGEST_GAP = 1.5
"""Seconds between two ticks beyond which a process that computed less than `BUSY` is taken to be stopped."""

BUSY = 0.2
"""Fraction of a gap for which a process that was not stopped would have computed."""


class WorkClock:
    """Seconds of the monotonic clock, minus those in which the process was stopped (SIGSTOP, a freezer).

    A process is not notified of a stop. During one, a thread that wakes every `TICK` seconds doesn't wake,
    and no other thread computes: the latter distinguishes a stop from a long computation that keeps Python's
    threads from running. Outside `watching`, this is the monotonic clock, which itself excludes the time in
    which the machine sleeps.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watchers = 0
        self._stopped = 0.0
        self._looked = (0.0, 0.0)

    def now(self) -> float:
        """Return seconds since an arbitrary moment; only differences are meaningful."""
        with self._lock:
            return self._look() - self._stopped

    def _look(self) -> float:
        now, computed = time.perf_counter(), time.process_time()
        before, computed_before = self._looked
        gap = now - before
        if self._watchers and gap > LONGEST_GAP and computed - computed_before < BUSY * gap:
            self._stopped += gap - TICK
        self._looked = (now, computed)
        return now

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Return a context in which stops are detected."""
        ended = threading.Event()

        def tick() -> None:
            while not ended.wait(TICK):
                self.now()

        thread = threading.Thread(target=tick, name="work clock", daemon=True)
        with self._lock:
            self._look()
            self._watchers += 1
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            with self._lock:
                self._watchers -= 1


CLOCK = WorkClock()
"""The clock of this process."""


class PhaseTimes:
    """Seconds per phase of a loop, and of the whole loop.

    On a CUDA device the phases that launch kernels are timed with events, which complete asynchronously;
    :meth:`settle` reads them when the caller waits for the device anyway. Other phases are timed with the
    host's clock. On a GPU the host runs ahead, so the sum of phases may be below or above the training clock;
    the clock itself is always wall-clock time.

    Parameters
    ----------
    names
        Of the phases.
    on_device
        Those that launch kernels.
    off_the_clock
        Those that the training clock excludes.
    timer
        Makes an event on the device that is timed; None for the host's clock throughout.

    Attributes
    ----------
    seconds
        By phase.
    """

    def __init__(
        self,
        names: Collection[str],
        *,
        on_device: Collection[str],
        off_the_clock: Collection[str],
        timer: Callable[[], torch.cuda.Event] | None,
    ) -> None:
        self.seconds = dict.fromkeys(names, 0.0)
        self._on_device = frozenset(on_device)
        self._off_the_clock = off_the_clock
        self._timer = timer
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._wall_before = 0.0
        self._started = CLOCK.now()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Return a context whose time is added to phase ``name``."""
        if self._timer is not None and name in self._on_device:
            start, end = self._timer(), self._timer()
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
        return self.on_the_clock(self.wall_seconds)

    def on_the_clock(self, wall: float) -> float:
        """Return how many of ``wall`` seconds, from the start up to now, the training clock counts."""
        return wall - sum(self.seconds[name] for name in self._off_the_clock)

    def start_clock(self) -> None:
        """Start the clock, after set-up and warm-up."""
        self._started = CLOCK.now()
