"""A fixed piece of work, timed in turns with a profile's stages: how fast the machine itself was meanwhile.

It is no part of any run. Where it takes longer in one of two profiles, or longer at times within one, the
machine was busy or slower, whatever the profiled run is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.machine import cores

NAME = "machine"
"""Its name among a profile's windows."""

QUIET = 1.25
"""Times that the work may take longer than it needs on a machine that counts as quiet."""

_NUMBERS = 50_000
_MOST_THREADS = 8
_SQUARE = 2048
_LEAST = 1e-5
"""Seconds below which clocks of threads say nothing."""


class Reference:
    """Sorting of random numbers on every core, or a product of matrices on a CUDA device.

    Attributes
    ----------
    waits
        Seconds of each sorting by the seconds that a core worked on it: 1 on an idle machine.
    """

    def __init__(self, device: torch.device) -> None:
        self.waits: list[float] = []
        self._pool: ThreadPoolExecutor | None = None
        self.call: Callable[[], object]
        if device.type == "cuda":
            square = torch.ones(_SQUARE, _SQUARE, device=device)
            self.call = lambda: square @ square
            return
        threads = min(cores(), _MOST_THREADS)
        # Threads of its own: PyTorch's number of them is a setting of the run.
        self._pool = ThreadPoolExecutor(threads)
        self._numbers = [np.random.default_rng(thread).random(_NUMBERS) for thread in range(threads)]
        self.call = self._sort

    def _sort(self) -> None:
        assert self._pool is not None
        before = time.perf_counter()
        worked = max(self._pool.map(_seconds_of_sorting, self._numbers))
        self.waits.append((time.perf_counter() - before) / max(worked, _LEAST))

    def slowdown(self, windows: Sequence[float]) -> float:
        """Return how many times longer the work took than it needs: than cores worked, or than at best.

        Threads of the run's last operation may still be spinning when it begins, so the quarter of the
        sortings that waited least is left to tell.
        """
        at_best = statistics.median(windows) / min(windows) if windows else 1.0
        return max(at_best, sorted(self.waits)[len(self.waits) // 4] if self.waits else 1.0)

    def close(self) -> None:
        """End its threads."""
        if self._pool is not None:
            self._pool.shutdown()


def _seconds_of_sorting(numbers: NDArray[np.float64]) -> float:
    before = time.thread_time()
    np.sort(numbers)
    return time.thread_time() - before
