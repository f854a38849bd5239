"""Graceful shutdown on SIGINT, SIGTERM and similar signals."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

from trainer.parallel import World

STOPS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)
"""Signals that stop a job; those ignored from the start, as by nohup, stay ignored."""

GRACE = 1.5
"""Seconds for Python to handle a signal, after which the process is ended without it."""

ONE_WISH = 1.0
"""Seconds in which a further signal is a repetition of the first: torchrun forwards a Ctrl-C to its ranks."""

INTERRUPTED = 130
"""Exit status of a command that was stopped by a signal."""

Mode = Literal["end", "raise", "keep"]


class Stopped(KeyboardInterrupt):
    """Raised if a signal stops work at once that can be repeated from its beginning."""


class Stop:
    """A stop request, and how it is currently handled.

    Initially a signal stops at once, by raising `Stopped`, for work that leaves nothing behind: building,
    compiling, warming up. Within `patiently` it is recorded, and the loop checks for it between steps; a
    second signal still stops at once.

    Attributes
    ----------
    by
        Name of the first signal received, such as "SIGTERM"; None before.
    """

    def __init__(self) -> None:
        self.by: str | None = None
        self._mode: Mode = "end"
        self._first = self._last = -float("inf")

    @property
    def asked(self) -> bool:
        """Whether a signal has been received."""
        return self.by is not None

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Return a context in which the first signal is only recorded."""
        with self._in("keep"):
            yield

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Return a context in which a signal raises `Stopped` at once."""
        with self._in("raise"):
            if self.asked:
                raise Stopped
            yield

    @contextmanager
    def _in(self, mode: Mode) -> Iterator[None]:
        before, self._mode = self._mode, mode
        try:
            yield
        finally:
            self._mode = before

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal, in the main thread."""
        self._last = time.monotonic()
        if not self.asked:
            self.by, self._first = signal.Signals(number).name, self._last
            if self._mode == "keep":
                return
        elif self._last - self._first < ONE_WISH:
            return
        raise Stopped

    def overdue(self, came: float) -> bool:
        """Return whether a signal received at time ``came`` is still unhandled and must not wait longer."""
        again = self.asked and came - self._first >= ONE_WISH
        # ``came`` is read slightly after Python may have handled the signal.
        return (self._mode == "end" or again) and self._last < came - 0.5


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Return a context in which the signals of `STOPS` become stop requests.

    Has no effect outside the main thread, where Python handles no signals. Python handles a signal only
    between two bytecode instructions, which a compiler or a large operation can delay for long: if no work
    has begun yet, or at a second signal, a thread ends the process after `GRACE`.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    handled = [number for number in STOPS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop.handle) for number in handled}
    try:
        with _ending_overdue(stop):
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stoppable(stop: Stop | None, world: World) -> Iterator[Callable[[], bool]]:
    """Make forward passes stoppable by a signal: at once on a single rank, else after a batch, on all ranks.

    Yields
    ------
    A function to call after each batch; if it returns True, the caller raises `Stopped`.
    """
    if stop is None:
        yield lambda: False
    elif world.size > 1:
        yield lambda: world.any(stop.asked)
    else:
        with stop.at_once():
            yield lambda: stop.asked


@contextmanager
def _ending_overdue(stop: Stop) -> Iterator[None]:
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    left = threading.Event()

    def watch() -> None:
        # Written by the C-level handler immediately, whatever the main thread is doing.
        while numbers := os.read(readable, 16):
            came = time.monotonic()
            if not set(numbers).isdisjoint(STOPS) and not left.wait(GRACE) and stop.overdue(came):
                with contextlib.suppress(OSError):
                    os.write(2, b"trainer: interrupted at once; the same command begins again\n")
                os._exit(INTERRUPTED)

    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        os.close(writable)
        watcher.join()
        os.close(readable)
