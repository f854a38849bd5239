"""A parallel map over threads, with results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


def in_order(function: Callable[[Work], Result], works: Iterable[Work], workers: int) -> Iterator[Result]:
    """Yield ``function(item)`` for each item of work, in order, computed by ``workers`` threads.

    At most ``2 * workers`` results are pending, so that memory stays bounded if the consumer is slow. The
    first exception, in the order of the work, is raised in its turn; later items are dropped.

    Threads, not processes: Pillow releases the interpreter's lock while it decodes, resizes and encodes,
    nothing is copied between processes, and nothing is forked from a process that may have threads.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="convert") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for work in works:
                if len(waiting) == 2 * workers:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, work))
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
