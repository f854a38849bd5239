"""An iterator that prefetches in a thread, which ends with its use."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from pipeline.errors import DataError

T = TypeVar("T")


class _Channel(Generic[T]):
    """State shared by the two threads; the worker holds nothing else, so dropping the `Prefetch` ends it."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.items: deque[T] = deque()
        self.error: BaseException | None = None
        self.finished = False
        self.closed = False
        # Reentrant: the garbage collector may close a channel while its own thread holds the lock.
        self.changed = threading.Condition(threading.RLock())


class Prefetch(Generic[T]):
    """Iterate over ``source`` in a thread that stays at most ``depth`` items ahead.

    An exception of the source is raised here, after the items before it. The thread ends when the
    source is used up, on `close`, when this object is dropped, and when the interpreter exits.

    Parameters
    ----------
    source
        The iterable.
    depth
        Maximum number of items read ahead.
    name
        Name of the thread.
    """

    def __init__(self, source: Iterator[T], depth: int, name: str) -> None:
        self._channel: _Channel[T] = _Channel(depth)
        thread = threading.Thread(target=_fill, args=(self._channel, source), name=name, daemon=True)
        self._finalizer = weakref.finalize(self, _stop, self._channel, thread)
        thread.start()

    def __iter__(self) -> Prefetch[T]:
        return self

    def __next__(self) -> T:
        channel = self._channel
        with channel.changed:
            while not (channel.items or channel.finished or channel.closed):
                channel.changed.wait()
            if channel.items:
                item = channel.items.popleft()
                channel.changed.notify_all()
                return item
            if channel.error is not None:
                error, channel.error = channel.error, None
                raise error
            if channel.closed and not channel.finished:
                raise DataError("a loader must stay open while its batches are used; it was closed")
            raise StopIteration

    def close(self) -> None:
        """End the thread and drop what it has read ahead; a second call does nothing."""
        self._finalizer()


def _fill(channel: _Channel[T], source: Iterator[T]) -> None:
    error: BaseException | None = None
    try:
        for item in source:
            with channel.changed:
                while len(channel.items) >= channel.depth and not channel.closed:
                    channel.changed.wait()
                if channel.closed:
                    return
                channel.items.append(item)
                channel.changed.notify_all()
            del item
    except BaseException as raised:  # Any exception, as the consumer is waiting.
        error = raised
    finally:
        with channel.changed:
            channel.error = error
            channel.finished = not channel.closed
            channel.changed.notify_all()


def _stop(channel: _Channel[T], thread: threading.Thread) -> None:
    with channel.changed:
        channel.closed = True
        channel.items.clear()
        channel.changed.notify_all()
    if thread.is_alive() and thread is not threading.current_thread():
        thread.join()
