"""Median seconds per step of interleaved works."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

Work = Callable[[], Mapping[str, float]]
"""A call that does its work once and returns seconds per step, keyed by the components that it timed."""

LEAST_SECONDS = 0.01
"""Minimum seconds of one measurement: shorter calls are repeated."""

MOST_CALLS = 200
LEAST_REPEATS = 5
"""Repeats, unless they take `LONGEST` times the seconds asked for: then fewer are enough."""

LONGEST = 1.5
LONGEST_SLACK = 5.0
"""Seconds beyond which fewer repeats are enough, however few seconds were asked for."""

COMPILING_SECONDS = 60.0
"""Seconds of a measurement from which on compilation, which takes as long by itself, is tried."""


def wait_for(device: torch.device) -> None:
    """Synchronize with a CUDA device; does nothing for other devices."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(slots=True)
class Alone:
    """A component that is one call, timed from an idle device to an idle device.

    Attributes
    ----------
    name
        Name of the component.
    call
        Its work.
    steps
        Training steps per call.
    device
        Device that is synchronized before the clock is started and before it is stopped.
    """

    name: str
    call: Callable[[], object]
    steps: float
    device: torch.device
    _calls: int = field(default=0, init=False)

    def __call__(self) -> dict[str, float]:
        """Time the component; the first time, determine the number of calls per measurement."""
        if self._calls == 0:
            self._seconds(1)
            self._calls = max(1, min(MOST_CALLS, round(LEAST_SECONDS / self._seconds(1))))
        return {self.name: self._seconds(self._calls) / (self._calls * self.steps)}

    def _seconds(self, calls: int) -> float:
        wait_for(self.device)
        before = time.perf_counter()
        for _ in range(calls):
            self.call()
        wait_for(self.device)
        return time.perf_counter() - before


def take_turns(works: Sequence[Work], seconds: float) -> dict[str, float]:
    """Return medians of each work's results, interleaved A B C A B C ... for about ``seconds``."""
    return {name: statistics.median(taken) for name, taken in turns(works, seconds).items()}


def turns(works: Sequence[Work], seconds: float, least: int = 2) -> dict[str, list[float]]:
    """Return all of each work's results, interleaved A B C A B C ... for about ``seconds``.

    Parameters
    ----------
    least
        Repeats, however long they take.
    """
    for work in works:
        work()
    gc.collect()
    times: dict[str, list[float]] = {}
    end, repeats = time.perf_counter() + seconds, 0
    latest = end + (LONGEST - 1) * seconds + LONGEST_SLACK
    while repeats < (LEAST_REPEATS if time.perf_counter() < latest else least) or time.perf_counter() < end:
        for work in works:
            for name, taken in work().items():
                times.setdefault(name, []).append(taken)
        repeats += 1
    return times
