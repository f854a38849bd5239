"""Successive halving: candidates take turns, and the slower half drops out after each round.

Jamieson and Talwalkar (2016), "Non-stochastic best arm identification and hyperparameter optimization", with
seconds per image of real steps as the loss.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tools.profiling.whole import Loop, session_at
from tools.tuning.space import Candidate, space
from trainer.data import Data
from trainer.errors import BudgetrainError, RunError
from trainer.session import Session

FINALISTS = 2
"""Candidates that are tried compiled, too, where time is left."""

COMPILING = 0.45
"""Part of the time that has to be left for compiled candidates."""

HOPELESS = 3.0
"""Times the fastest's seconds from which on a candidate is not measured again."""

_WINDOWS = 2
"""Windows per candidate in the first round."""


@dataclass(slots=True, eq=False)
class Entry:
    """A candidate in the search.

    Attributes
    ----------
    windows
        Seconds per image of its windows.
    rounds
        Rounds that it took part in.
    refused
        Why it could not be tried; None if it was.
    """

    candidate: Candidate
    windows: list[float] = field(default_factory=list)
    rounds: int = 0
    refused: str | None = None
    _session: Session | None = None
    _loop: Loop | None = None

    @property
    def seconds_per_image(self) -> float:
        """Median of the windows; infinite for a candidate that wasn't tried."""
        return statistics.median(self.windows) if self.windows else math.inf

    def open(self, data: Data, at: float, scratch: Path, threads: int) -> None:
        """Build its session, unless it is open or can't be."""
        if self._session is not None or self.refused is not None:
            return
        run = self.candidate.run
        torch.set_num_threads(run.threads or threads)
        try:
            self._session = session_at(run, data, at, scratch)
        except BudgetrainError as error:
            self.refused = str(error)
            return
        self._loop = Loop(self._session, run.threads or threads)
        # The first window's size is a guess.
        self._loop.window()

    def measure(self) -> None:
        """Measure a window."""
        assert self._loop is not None
        self.windows.append(self._loop.window().seconds / self.candidate.run.batch_size)

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
    end, threads = time.perf_counter() + seconds, torch.get_num_threads()
    entries = [Entry(candidate) for candidate in candidates]
    base = candidates[0].run
    compiles = compiles and not base.compile and not base.gradient_checkpointing

    def rounds(alive: list[Entry], until: float) -> list[Entry]:
        def opened(entry: Entry) -> None:
            entry.open(data, at, scratch / str(entries.index(entry)), threads)

        return _rounds(alive, opened, lambda: until - time.perf_counter())

    try:
        finalists = final = rounds(entries, end - COMPILING * seconds * compiles)
        if entries[0].refused is not None:
            raise RunError(entries[0].refused)
        if compiles and end - time.perf_counter() > 0.5 * COMPILING * seconds:
            wanted = [{**entry.candidate.changed, "compile": True} for entry in finalists[:FINALISTS]]
            every = space(base, data.train, compiled=True)
            compiled = [Entry(candidate) for candidate in every if dict(candidate.changed) in wanted]
            entries += compiled
            final = rounds(list(dict.fromkeys((entries[0], finalists[0], *compiled))), end)
    finally:
        for entry in entries:
            entry.close()
    return ranked([*final, *finalists], entries)


def ranked(final: Sequence[Entry], entries: Sequence[Entry]) -> list[Entry]:
    """Return ``entries``: those of the last rounds first, as they stand, then the others.

    What dropped out early was slower, and measured less; what wasn't reached comes last.
    """
    others = sorted(entries, key=lambda entry: (-entry.rounds, entry.seconds_per_image))
    return list(dict.fromkeys([*final, *others]))


def _rounds(
    alive: list[Entry], open_entry: Callable[[Entry], None], left: Callable[[], float]
) -> list[Entry]:
    """Halve until two are left, besides the first, or time is up; return the fastest first."""
    first, windows, longest = alive[0], _WINDOWS, 0.0
    while True:
        for entry in alive:
            # Building can't be cut short: one that would take as long as another did, compilation included,
            # has to fit.
            if left() > longest or entry is first or entry.windows:
                before = left()
                open_entry(entry)
                longest = max(longest, before - left())
        alive = [entry for entry in alive if entry.refused is None and entry._session is not None]
        for _ in range(windows):
            best = min((entry.seconds_per_image for entry in alive), default=math.inf)
            for entry in alive:
                hopeless = entry.windows and entry.seconds_per_image > HOPELESS * best
                if not entry.windows or (left() > 0 and not hopeless):
                    entry.measure()
        for entry in alive:
            entry.rounds += 1
        alive.sort(key=lambda entry: entry.seconds_per_image)
        keep = max(2, -(-len(alive) // 2))
        if len(alive) <= 2 or left() <= 0:
            return alive
        for entry in alive[keep:]:
            if entry is not first:
                entry.close()
        alive = [entry for index, entry in enumerate(alive) if index < keep or entry is first]
        if len(alive) <= 3 and windows >= 4 * _WINDOWS:
            return alive
        windows *= 2
