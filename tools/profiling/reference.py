"""A fixed piece of work, timed in turns with a profile's stages: how fast the machine itself was meanwhile.

It is no part of any run. Where it takes longer in one of two profiles, or longer at times within one, the
machine was busy or slower, whatever the profiled run is.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from pipeline.machine import cores

NAME = "machine"
"""Its name among a profile's windows."""

QUIET = 1.25
"""Median by least time of its windows up to which a machine counts as quiet."""

_NUMBERS = 50_000
_MOST_THREADS = 8
_SQUARE = 2048


class Reference:
    """Sorting of random numbers on every core, or a product of matrices on a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self.call: Callable[[], object]
        if device.type == "cuda":
            square = torch.ones(_SQUARE, _SQUARE, device=device)
            self.call = lambda: square @ square
            return
        threads = min(cores(), _MOST_THREADS)
        # Threads of its own: PyTorch's number of them is a setting of the run.
        pool = self._pool = ThreadPoolExecutor(threads)
        numbers = [np.random.default_rng(thread).random(_NUMBERS) for thread in range(threads)]
        self.call = lambda: list(pool.map(np.sort, numbers))

    def close(self) -> None:
        """End its threads."""
        if self._pool is not None:
            self._pool.shutdown()


def slowdown(windows: Sequence[float]) -> float:
    """Return how many times longer the work usually took than at best: near 1 on a quiet machine."""
    return statistics.median(windows) / min(windows) if windows else 1.0
