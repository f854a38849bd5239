"""Time limit of a benchmark, divided among its cases."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


class Clock:
    """Decides when a case has been measured often enough, and when no further case is started.

    A case may take an equal part of the remaining time: one that needs less leaves more to the others. Each
    is measured at least once, however long that takes. `notes` lists the cases cut short or left out.

    Parameters
    ----------
    seconds
        From now on; by default unlimited, so that cases are measured as often as requested.
    """

    def __init__(self, seconds: float = math.inf) -> None:
        self._seconds = seconds
        self._end = time.perf_counter() + seconds
        self._until = math.inf
        self._case = ""
        self._shortened: dict[str, int] = {}
        self._left_out: list[str] = []

    def cases(self, cases: Sequence[T]) -> Iterator[T]:
        """Yield cases while there is time; the first one always."""
        for place, case in enumerate(cases):
            now = time.perf_counter()
            if place and now >= self._end:
                self._left_out += [str(other) for other in cases[place:]]
                return
            self._until = now + (self._end - now) / (len(cases) - place)
            self._case = str(case)
            yield case

    def goes_on(self, done: int, repeats: int) -> bool:
        """Return whether a case measured ``done`` times of ``repeats`` is to be measured once more."""
        if done >= repeats:
            return False
        if done == 0 or time.perf_counter() < self._until:
            return True
        self._shortened[self._case] = min(done, self._shortened.get(self._case, done))
        return False

    def left(self) -> float:
        """Return the remaining seconds for all cases, at least 0."""
        return max(0.0, self._end - time.perf_counter())

    def case_left(self) -> float:
        """Return the remaining seconds for the current case, at least 0."""
        return max(0.0, self._until - time.perf_counter())

    def notes(self) -> list[str]:
        """Return one line per kind of case that there was no time for."""
        minutes = f"{self._seconds / 60:g} minutes"
        notes = []
        if self._shortened:
            fewest = min(self._shortened.values())
            few = "once" if fewest == 1 else f"{fewest} times"
            names = ", ".join(self._shortened)
            notes.append(f"measured less often than requested, at least {few}, to end in {minutes}: {names}")
        if self._left_out:
            notes.append(f"left out, since {minutes} were over: {', '.join(self._left_out)}")
        if notes:
            notes[-1] += "; --minutes allows more time"
        return notes
