"""Thread pool for the chunks of a batch, in which the calling thread takes part."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from types import TracebackType

import numpy as np


class Crew:
    """A number of threads, of which the caller is one: a small batch needn't wake any other.

    Parameters
    ----------
    threads
        Number of threads, including the caller.
    name
        Prefix of the other threads' names.
    """

    def __init__(self, threads: int, name: str) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(max(1, threads - 1), thread_name_prefix=name)

    def share_out(self, count: int, parts: int, work: Callable[[slice], None]) -> None:
        """Call ``work`` on ``parts`` chunks of about equal size of a batch of ``count`` samples.

        Dynamic scheduling: idle threads take the next chunk, so that no thread waits long for another. An
        error is raised once all threads have finished their chunks.
        """
        parts = min(parts, count)
        if parts < 2:
            work(slice(0, count))
            return
        bounds = np.linspace(0, count, parts + 1).astype(int).tolist()
        waiting = iter([slice(low, high) for low, high in pairwise(bounds)])

        def run() -> None:
            for part in waiting:
                work(part)

        others = [self._pool.submit(run) for _ in range(min(self.threads, parts) - 1)]
        try:
            run()
        finally:
            # After an error or Ctrl-C, leave no chunks to the others.
            for _ in waiting:
                pass
            wait(others)
        for other in others:
            other.result()

    def close(self) -> None:
        """End the threads; a second call does nothing."""
        self._pool.shutdown()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
