"""A clock for work: it stands still while the process is stopped, as by SIGSTOP or a scheduler's freezer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

TICK = 0.2
LONGEST_GAP = 1.5
"""Seconds between two looks at the clock that take a process which works less than `BUSY` to be stopped."""

BUSY = 0.2
"""Share of a gap in which a process that was not stopped would have computed."""


class WorkClock:
    """Seconds of the monotonic clock, less those in which the process was stopped.

    Nobody tells a process that it was stopped. A thread that wakes every `TICK` seconds does not wake then,
    nor does any other thread compute: that tells a stop from a long computation that keeps Python's threads
    from running. Without `watching`, seconds are those of the monotonic clock, which itself stands still
    while the machine sleeps.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watchers = 0
        self._stopped = 0.0
        self._looked = (0.0, 0.0)

    def now(self) -> float:
        """Seconds since some moment; differences are what counts."""
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
        """Notice stops within."""
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
"""The process's own."""
