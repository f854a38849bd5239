"""Work shared out over threads, with results in the order of the work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


def in_order(function: Callable[[Work], Result], works: Iterable[Work], workers: int) -> Iterator[Result]:
    """Yield ``function(work)`` for each work, in their order, computed by ``workers`` threads.

    At most ``2 * workers`` results wait to be taken, so memory stays bounded however slow the taker is. The
    first exception, in the order of the works, is raised when its turn comes; later works are dropped.

    Threads, not processes: Pillow lets go of the interpreter's lock while it decodes, resizes and encodes,
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
