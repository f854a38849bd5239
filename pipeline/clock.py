"""Clock that excludes the time in which the process is stopped, as by SIGSTOP or a scheduler's freezer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

TICK = 0.2
LONGEST_GAP = 1.5
"""Seconds between two ticks beyond which a process that computed less than `BUSY` is taken to be stopped."""

BUSY = 0.2
"""Fraction of a gap for which a process that was not stopped would have computed."""


class WorkClock:
    """Seconds of the monotonic clock, minus those in which the process was stopped.

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
