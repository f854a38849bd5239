"""Signals that ask a run to stop, spoken to the training loop, and to whatever comes before it."""

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
"""What terminals and schedulers stop a job by. Those ignored from the start, as by nohup, stay so."""

GRACE = 1.5
"""Seconds in which Python may get to a signal before the process ends without it."""

ONE_WISH = 1.0
"""Seconds in which further signals are the first one again: torchrun passes on a Ctrl-C its ranks had."""

INTERRUPTED = 130
"""Exit status of a command that was asked to stop."""

Mode = Literal["end", "raise", "keep"]


class Stopped(KeyboardInterrupt):
    """Raised where a signal stops at once what can be done again as if it had not begun."""


class Stop:
    """The wish to stop, and what is to be done about it just now.

    At first it stops at once, by raising `Stopped`, as is right for what leaves nothing: building, compiling,
    warming up. Within `patiently` it is kept until the loop asks for it, between two steps; a second signal
    stops at once all the same.

    Attributes
    ----------
    by
        Name of the first signal that came, as "SIGTERM"; None before.
    """

    def __init__(self) -> None:
        self.by: str | None = None
        self._mode: Mode = "end"
        self._first = self._last = -float("inf")

    @property
    def asked(self) -> bool:
        """Whether a signal has come."""
        return self.by is not None

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Keep the first signal as a wish."""
        with self._in("keep"):
            yield

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Stop what is within by `Stopped`, also in its middle."""
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

    def hear(self, number: int, frame: FrameType | None) -> None:
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
        """Whether a signal of the time ``came`` is still to be heard, and must not wait for that."""
        again = self.asked and came - self._first >= ONE_WISH
        # It is read a moment after Python may have handled it.
        return (self._mode == "end" or again) and self._last < came - 0.5


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Turn the signals of `STOPS` into a wish to stop.

    Outside of the main thread, where Python takes no signals, nobody can ask. Python gets to a signal only
    between two of its instructions, which a compiler or a large operation keeps it from for long: where
    nothing has begun yet, or at a second signal, a thread ends the process after `GRACE`.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    heard = [number for number in STOPS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop.hear) for number in heard}
    try:
        with _ending_overdue(stop):
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stoppable(stop: Stop | None, world: World) -> Iterator[Callable[[], bool]]:
    """Let a signal end forward passes: alone at once, else after a batch, at which all ranks ask for it.

    Yields
    ------
    What to ask after each batch; where it is true, `Stopped` is to be raised.
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
        # Written by the handler in C, at once, whatever the main thread is doing.
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
