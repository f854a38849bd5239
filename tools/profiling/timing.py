"""Seconds per step, of works that take turns; medians."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

Work = Callable[[], Mapping[str, float]]
"""Does something once, and gives seconds per step by the names of the stages that it timed."""

LEAST_SECONDS = 0.01
"""What is timed in one go takes at least so long: a shorter call is repeated."""

MOST_CALLS = 200
LEAST_REPEATS = 5


def wait_for(device: torch.device) -> None:
    """Wait until a CUDA device has done everything asked of it; nothing to wait for elsewhere."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(slots=True)
class Alone:
    """A stage that is one call, timed from an idle device to an idle device.

    Attributes
    ----------
    name
        Of the stage.
    call
        Its work.
    steps
        Training steps that one call is for.
    device
        That is waited for before the clock is started and before it is stopped.
    """

    name: str
    call: Callable[[], object]
    steps: float
    device: torch.device
    _calls: int = field(default=0, init=False)

    def __call__(self) -> dict[str, float]:
        """Time the stage; the first time, find out how often to call it in one go."""
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
    """Median of what each work gives, A B C A B C ... for about ``seconds``, so that drift hits all alike."""
    for work in works:
        work()
    gc.collect()
    times: dict[str, list[float]] = {}
    end, repeats = time.perf_counter() + seconds, 0
    while repeats < LEAST_REPEATS or time.perf_counter() < end:
        for work in works:
            for name, taken in work().items():
                times.setdefault(name, []).append(taken)
        repeats += 1
    return {name: statistics.median(taken) for name, taken in times.items()}
