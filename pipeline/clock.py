"""Clock that excludes the time in which the process is stopped, and the times of phases by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

TICK = 0.2
LONGEST_GAP = 1.5
"""Seconds between two ticks beyond which a process that computed less than `BUSY` is taken to be stopped."""

BUSY = 0.2
"""Fraction of a gap for which a process that was not stopped would have computed."""


class WorkClock:
    """Seconds of the monotonic clock, minus those in which the process was stopped (SIGSTOP, a freezer).

    A process is not notified of a stop. During one, a thread that wakes every `TICK` seconds doesn't wake,
    and no other thread computes: the latter distinguishes a stop from a long computation that keeps Python's
    threads from running. Outside `watching`, this is the monotonic clock, which itself excludes the time in
    which the machine sleeps.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watchers = 0
        self._stopped = 0.0
        self._looked = (0.0, 0.0)

    def now(self) -> float:
        """Return seconds since an arbitrary moment; only differences are meaningful."""
        with self._lock:
            return self._look() - self._stopped

    def _look(self) -> float:
        now, computed = time.perf_counter(), time.process_time()
        before, computed_before = self._looked
        gap = now - before
        if self._watchers and gap > LONGEST_GAP and computed - computed_before < BUSY * gap:
            self._stopped += gap - TICK
        self._looked = (now, computed)
        return now

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Return a context in which stops are detected."""
        ended = threading.Event()

        def tick() -> None:
            while not ended.wait(TICK):
                self.now()

        thread = threading.Thread(target=tick, name="work clock", daemon=True)
        with self._lock:
            self._look()
            self._watchers += 1
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            with self._lock:
                self._watchers -= 1


CLOCK = WorkClock()
"""The clock of this process."""


class Spans(Protocol):
    """Receiver of what a loop did when, while it is recorded.

    Attributes
    ----------
    step
        Number of the step under way, which phases belong to.
    """

    step: int | None

    def add(self, lane: str, name: str, begin: float, end: float, number: int | None = None) -> None:
        """Take a span of a lane ("host", "device", "loader"), in seconds of the clock.

        ``number`` is that of the loader's batch, or of the step that launched the device's work; by default
        that of the step under way.
        """


@dataclass(slots=True)
class _Work:
    """A phase's kernels: the events around them, and what the host did since the kernels before them."""

    name: str
    begin: torch.cuda.Event
    end: torch.cuda.Event
    before: list[tuple[str | None, float]]
    step: int | None


@dataclass(slots=True)
class _Behind:
    """Work up to a mark, whose times are read once the device has long passed it."""

    mark: torch.cuda.Event
    works: list[_Work]
    before: list[tuple[str | None, float]]


class PhaseTimes:
    """Seconds per phase of a loop, and of the whole loop.

    Every moment belongs to one phase at most: one that begins within another interrupts it. So the phases and
    the time outside of them add up to the clock.

    On a CUDA device the host runs ahead, and the clock is the device's. Phases that launch kernels are timed
    with events. In the gaps between them the device idles, and each gap is charged to what the host did last
    before it ended: to waiting for data, say. What the host does while the device computes costs nothing. A
    gap longer than all that the host did in it is a wait for copies on another stream. Events complete
    asynchronously; :meth:`settle` reads them when the caller waits for the device anyway.

    Parameters
    ----------
    names
        Of the phases.
    on_device
        Those that launch kernels.
    off_the_clock
        Those that the training clock excludes.
    copies
        The phase of waits for another stream.
    timer
        Makes an event on the device that is timed; None for the host's clock throughout.
    now
        The host's clock, in seconds.

    Attributes
    ----------
    seconds
        By phase.
    now
        The host's clock, in seconds.
    spans
        Receiver of every phase's beginning and end; None while nothing is recorded.
    """

    def __init__(
        self,
        names: Collection[str],
        *,
        on_device: Collection[str],
        off_the_clock: Collection[str],
        copies: str,
        timer: Callable[[], torch.cuda.Event] | None,
        now: Callable[[], float] = CLOCK.now,
    ) -> None:
        self.seconds = dict.fromkeys(names, 0.0)
        self.spans: Spans | None = None
        self._on_device = frozenset(on_device) if timer is not None else frozenset()
        self._off_the_clock = off_the_clock
        self._copies = copies
        self._timer = timer
        self.now = now
        self._open: list[str] = []
        self._since = now()
        self._begun: torch.cuda.Event | None = None
        self._mark: torch.cuda.Event | None = None
        self._works: list[_Work] = []
        self._before: list[tuple[str | None, float]] = []
        self._spare: list[torch.cuda.Event] = []
        self._behind: _Behind | None = None
        self._wall_before = 0.0
        self._started = self._since

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Return a context whose time, except that of phases within it, is added to phase ``name``."""
        alone = self._timer is not None and name in self._off_the_clock
        if alone:
            self.settle()
        self._end_span()
        self._open.append(name)
        self._begin_span()
        try:
            yield
        finally:
            self._end_span()
            if alone:
                self.settle()
            self._open.pop()
            self._begin_span()

    def through(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """Iterate over ``items``, taking each of them within phase ``name``."""
        while True:
            with self.phase(name):
                item = next(items, None)
            if item is None:
                return
            yield item
            del item

    def add(self, name: str, seconds: float) -> None:
        """Add seconds measured elsewhere."""
        self.seconds[name] += seconds

    def settle(self) -> None:
        """Bring the times up to now; waits for the device."""
        self._end_span()
        if self._timer is not None:
            self._catch_up()
            self._resolve(self._cut())
        self._begin_span()

    def settle_behind(self) -> None:
        """Bring the times up to the last such call, so that the device is left work while it is waited for.

        Up to now, as `settle`, without a device that is timed, and while spans are recorded.
        """
        if self._timer is None or self.spans is not None:
            self.settle()
            return
        self._end_span()
        self._catch_up()
        self._behind = self._cut()
        self._begin_span()

    @property
    def wall_seconds(self) -> float:
        """Seconds since the clock was started, including sessions before a resume and excluding set-up."""
        return self._wall_before + self.now() - self._started

    @property
    def train_seconds(self) -> float:
        """Return the training clock: wall-clock seconds without evaluation and checkpoints."""
        return self.on_the_clock(self.wall_seconds)

    def on_the_clock(self, wall: float) -> float:
        """Return how many of ``wall`` seconds, from the start up to now, the training clock counts."""
        return wall - sum(self.seconds[name] for name in self._off_the_clock)

    def start_clock(self) -> None:
        """Start the clock, after set-up and warm-up; what came before belongs to no phase."""
        if self._timer is not None:
            self._behind, dropped = None, self._cut()
            self._mark = dropped.mark
            self._mark.synchronize()
            self._spare += [event for work in dropped.works for event in (work.begin, work.end)]
        self._since = self._started = self.now()

    def _begin_span(self) -> None:
        """Go on with the innermost open phase."""
        if self._open and self._open[-1] in self._on_device:
            self._begun = self._record()

    def _end_span(self) -> None:
        """Charge the time since the last call to the innermost open phase, if any."""
        name, now = self._open[-1] if self._open else None, self.now()
        since, self._since = self._since, now
        if self.spans is not None and name is not None:
            self.spans.add("host", name, since, now)
        if name in self._on_device:
            assert name is not None
            assert self._begun is not None
            step = None if self.spans is None else self.spans.step
            self._works.append(_Work(name, self._begun, self._record(), self._before, step))
            self._before, self._begun = [], None
        elif self._timer is not None:
            self._before.append((name, now - since))
        elif name is not None:
            self.seconds[name] += now - since

    def _record(self) -> torch.cuda.Event:
        assert self._timer is not None
        event = self._spare.pop() if self._spare else self._timer()
        event.record()
        return event

    def _cut(self) -> _Behind:
        """Mark the present moment, and return the work up to it."""
        made = _Behind(self._record(), self._works, self._before)
        self._works, self._before = [], []
        return made

    def _catch_up(self) -> None:
        """Resolve what the last `settle_behind` left."""
        if self._behind is not None:
            behind, self._behind = self._behind, None
            self._resolve(behind)

    def _resolve(self, until: _Behind) -> None:
        """Wait for a mark, and charge all kernels up to it and the gaps between them."""
        mark = until.mark
        mark.synchronize()
        last, reached = self._mark, self.now()
        for work in until.works:
            if last is not None:
                self._charge_gap(last.elapsed_time(work.begin) / 1e3, work.before)
            self.seconds[work.name] += work.begin.elapsed_time(work.end) / 1e3
            last = work.end
            if self.spans is not None:
                begin, end = (reached - event.elapsed_time(mark) / 1e3 for event in (work.begin, work.end))
                self.spans.add("device", work.name, begin, end, work.step)
        if last is not None:
            self._charge_gap(last.elapsed_time(mark) / 1e3, until.before)
        self._spare += [event for work in until.works for event in (work.begin, work.end)]
        if self._mark is not None:
            self._spare.append(self._mark)
        self._mark = mark

    def _charge_gap(self, gap: float, host: list[tuple[str | None, float]]) -> None:
        """Charge a gap, in which the device idled, to the last of what the host did before its end."""
        for name, seconds in reversed(host):
            part = min(gap, seconds)
            if name is not None:
                self.seconds[name] += part
            gap -= part
            if gap <= 0:
                return
        self.seconds[self._copies] += gap
