"""Successive halving: candidates take turns, and the slower half drops out after each round.

Jamieson and Talwalkar (2016), "Non-stochastic best arm identification and hyperparameter optimization", with
seconds per image of real steps as the loss.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tools.profiling.intervals import LEAST, Ratio, paired
from tools.profiling.whole import Loop, session_at
from tools.tuning.space import Candidate, space
from trainer.config import Run
from trainer.data import Data
from trainer.errors import BudgetrainError, RunError
from trainer.session import Session

FINALISTS = 2
"""Candidates that are tried compiled, too, where time is left."""

COMPILING = 0.45
"""Part of the time that is left for compiled candidates."""

COMPILED_FROM = 120.0
"""Seconds of a search from which on compiled candidates are tried: compiling takes about half as long."""

HOPELESS = 3.0
"""Times the fastest's seconds from which on a candidate is not measured again."""

_WINDOWS = 2
"""Windows per candidate in the first round."""

_MOST_TURNS = 40
"""Turns of the fastest with the run as it is, beyond which time doesn't make their difference clearer."""


@dataclass(slots=True, eq=False)
class Entry:
    """A candidate in the search.

    Attributes
    ----------
    windows
        Seconds per image of its windows.
    turns
        The turn of each window: what was measured in the same turn saw the same machine.
    rounds
        Rounds that it took part in.
    refused
        Why it could not be tried; None if it was, or time was up.
    opening
        Seconds that building it took, warm-up and compilation included.
    window
        Seconds that a window of it takes.
    """

    candidate: Candidate
    windows: list[float] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    rounds: int = 0
    refused: str | None = None
    opening: float = 0.0
    window: float = 0.0
    _session: Session | None = None
    _loop: Loop | None = None

    @property
    def seconds_per_image(self) -> float:
        """Median of the windows; infinite for a candidate that wasn't tried."""
        return statistics.median(self.windows) if self.windows else math.inf

    @property
    def running(self) -> bool:
        """Whether it is ready to be measured."""
        return self._session is not None

    def open(self, data: Data, at: float, scratch: Path, threads: int) -> None:
        """Build its session, unless it is open or can't be."""
        if self._session is not None or self.refused is not None:
            return
        before, run = time.perf_counter(), self.candidate.run
        torch.set_num_threads(run.threads or threads)
        try:
            self._session = session_at(run, data, at, scratch)
        except BudgetrainError as error:
            self.refused = str(error)
            return
        self._loop = Loop(self._session, run.threads or threads)
        # The first window's size is a guess.
        self._loop.window()
        self.opening, before = time.perf_counter() - before, time.perf_counter()
        self._loop.window()
        self.window = time.perf_counter() - before

    def measure(self, turn: int) -> None:
        """Measure a window."""
        assert self._loop is not None
        self.windows.append(self._loop.window().seconds / self.candidate.run.batch_size)
        self.turns.append(turn)

    def against(self, first: Entry) -> Ratio:
        """Return how many times faster it is than the run as it is, by the turns that both took."""
        mine = dict(zip(self.turns, self.windows, strict=True))
        theirs = dict(zip(first.turns, first.windows, strict=True))
        shared = [turn for turn in self.turns if turn in theirs]
        if not shared:
            return Ratio(1.0, unmeasured="it never took turns with the run as it is")
        return paired([theirs[turn] for turn in shared], [mine[turn] for turn in shared])

    def close(self) -> None:
        """Close its session."""
        if self._session is not None:
            self._session.close()
        self._session = self._loop = None


def halve(
    candidates: Sequence[Candidate],
    data: Data,
    at: float,
    seconds: float,
    scratch: Path,
    *,
    compiles: bool = True,
) -> list[Entry]:
    """Return the candidates, the fastest first, after rounds within ``seconds``.

    The run as it is, the first candidate, stays in to the end, so that the gain is over turns with it.

    Parameters
    ----------
    at
        Point of the run, as a fraction of the budget.
    compiles
        Whether the fastest are tried compiled, too, where time is left.

    Raises
    ------
    RunError
        When the run as it is can't start.
    """
    search = _Search(data, at, scratch, time.perf_counter() + seconds)
    base = candidates[0].run
    compiles = compiles and not base.compile and not base.gradient_checkpointing
    fits = compiles and seconds >= COMPILED_FROM
    search.entries += [Entry(candidate) for candidate in candidates]
    first = search.entries[0]
    try:
        finalists = final = search.rounds(list(search.entries), COMPILING * seconds * fits)
        if first.refused is not None:
            raise RunError(first.refused)
        if fits and search.left > 0.8 * COMPILING * seconds:
            compiled = search.compiled(finalists[:FINALISTS], base)
            search.entries += compiled
            final = search.rounds(list(dict.fromkeys((first, finalists[0], *compiled))), 0.0)
        elif compiles:
            # Not tried, and in the table with those for which time was too short.
            search.entries += search.compiled([first], base)
        search.decide(first, final[0])
        final.sort(key=lambda entry: -entry.against(first).speedup)
    finally:
        for entry in search.entries:
            entry.close()
    return ranked([*final, *finalists], search.entries)


class _Search:
    """The candidates that take turns, and the time that is left for them."""

    def __init__(self, data: Data, at: float, scratch: Path, end: float) -> None:
        self.entries: list[Entry] = []
        self._data, self._at, self._scratch, self._end = data, at, scratch, end
        self._threads = torch.get_num_threads()
        self._turn = 0
        self._opening = self._window = 0.0

    @property
    def left(self) -> float:
        """Seconds until time is up."""
        return self._end - time.perf_counter()

    def compiled(self, finalists: Sequence[Entry], base: Run) -> list[Entry]:
        """Return entries for some candidates compiled."""
        wanted = [{**entry.candidate.changed, "compile": True} for entry in finalists]
        every = space(base, self._data.train, compiled=True)
        return [Entry(candidate) for candidate in every if dict(candidate.changed) in wanted]

    def rounds(self, alive: list[Entry], reserve: float) -> list[Entry]:
        """Halve until two are left, besides the first, or time but ``reserve`` is up.

        Returns
        -------
        Those that are left, the fastest first.
        """
        first, windows = alive[0], _WINDOWS
        while True:
            self._open(alive, windows, reserve)
            alive = [entry for entry in alive if entry.running]
            for _ in range(windows):
                self._take_turns(alive, reserve)
            for entry in alive:
                entry.rounds += 1
            alive.sort(key=lambda entry: entry.seconds_per_image)
            keep = max(2, -(-len(alive) // 2))
            if len(alive) <= 2 or self.left <= reserve:
                return alive
            for entry in alive[keep:]:
                if entry is not first:
                    entry.close()
            alive = [entry for index, entry in enumerate(alive) if index < keep or entry is first]
            if len(alive) <= 3 and windows >= 4 * _WINDOWS:
                return alive
            windows *= 2

    def decide(self, first: Entry, best: Entry) -> None:
        """Have the fastest and the run as it is take turns until either is clearly faster, or time is up."""
        if best is first or not (first.running and best.running):
            return
        for _ in range(_MOST_TURNS):
            if self.left <= 0 or best.against(first).significant:
                return
            self._take_turns([first, best], 0.0)

    def _open(self, alive: Sequence[Entry], windows: int, reserve: float) -> None:
        """Build the candidates that time allows, in their order.

        Building can't be cut short. One that takes as long as the longest so far has to fit, and then the
        turns of all that are built, or those that decide in the end.
        """
        running = sum(entry.running for entry in alive)
        for entry in alive:
            turns = max(windows * (running + 1), 2 * LEAST) * self._window
            if entry.windows or entry is alive[0] or self.left - reserve > self._opening + turns:
                before = time.perf_counter()
                entry.open(
                    self._data, self._at, self._scratch / str(self.entries.index(entry)), self._threads
                )
                self._opening = max(self._opening, time.perf_counter() - before)
                self._window = max(self._window, entry.window)
                running += entry.running

    def _take_turns(self, alive: Sequence[Entry], reserve: float) -> None:
        best = min((entry.seconds_per_image for entry in alive), default=math.inf)
        for entry in alive:
            # Without turns of the run as it is there is nothing to compare with.
            needed = entry is self.entries[0] and len(entry.windows) < 2 * LEAST
            hopeless = entry.seconds_per_image > HOPELESS * best and not needed
            if not entry.windows or (self.left > reserve and not hopeless):
                entry.measure(self._turn)
        self._turn += 1


def ranked(final: Sequence[Entry], entries: Sequence[Entry]) -> list[Entry]:
    """Return ``entries``: those of the last rounds first, as they stand, then the others.

    What dropped out early was slower, and measured less; what wasn't reached comes last.
    """
    others = sorted(entries, key=lambda entry: (-entry.rounds, entry.seconds_per_image))
    return list(dict.fromkeys([*final, *others]))
