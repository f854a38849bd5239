"""Recording of what a loop and its loader did when, and a loader's figures in anybody's loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from pipeline.clock import CLOCK
from pipeline.device import timer
from pipeline.engines import ENGINES, EngineConfig
from pipeline.errors import DataError
from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import write_whole
from pipeline.loading.loader import Loader

SCHEMA = 2
"""Schema of profiles as JSON; version 1 was the file of `trainer profile --json`."""

MOST_SPANS = 50_000
"""Spans kept at most: some thousands of steps."""


@dataclass(frozen=True, slots=True)
class Span:
    """Something done from ``begin`` to ``end``, in seconds of the clock.

    Attributes
    ----------
    lane
        Who did it: "host", "device", "loader", or "consumer" for a loader's.
    name
        A phase, or a stage of the loader: "draw", "read", "place".
    number
        Of the step, or of the loader's batch within its order; None where there is none.
    """

    lane: str
    name: str
    begin: float
    end: float
    number: int | None


class Mark:
    """A moment between two steps, on the device's clock where that is CUDA."""

    def __init__(self, device: torch.device) -> None:
        self._at = CLOCK.now()
        self._event = timer() if device.type == "cuda" else None
        if self._event is not None:
            self._event.record()

    def until(self, later: Mark) -> float:
        """Return the seconds up to a later one, once the device was waited for."""
        if self._event is None or later._event is None:
            return later._at - self._at
        return float(self._event.elapsed_time(later._event)) / 1e3


class Recorder:
    """Receiver of spans from a loop's phases and its loader, from any thread.

    Attributes
    ----------
    spans
        In the sequence in which they ended.
    step
        Number of the step under way, which phases belong to.
    dropped
        Spans beyond `MOST_SPANS`.
    seconds
        Seconds that taking in the spans took, of all threads.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.step: int | None = None
        self.dropped = 0
        self.seconds = 0.0

    def add(self, lane: str, name: str, begin: float, end: float, number: int | None = None) -> None:
        """Keep a span; without a number of its own it belongs to the step under way."""
        entered = time.perf_counter()
        if len(self.spans) >= MOST_SPANS:
            self.dropped += 1
        else:
            self.spans.append(Span(lane, name, begin, end, self.step if number is None else number))
        self.seconds += time.perf_counter() - entered

    def rows(self, origin: float) -> list[list[Any]]:
        """Return the spans as JSON has them: lane, name, begin and end after ``origin``, number."""
        return [
            [lane, name, begin - origin, end - origin, number]
            for lane, name, begin, end, number in map(astuple, self.spans)
        ]


class LoaderProfile:
    """Figures of a loader while it was profiled.

    Parameters
    ----------
    loader
        The loader.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._recorder = Recorder()
        self._began = self._ended = CLOCK.now()
        self._copied = loader.times.copy

    def begin(self) -> None:
        """Begin to record."""
        self._began, self._copied = CLOCK.now(), self._loader.times.copy
        self._loader.record(self._recorder)

    def end(self) -> None:
        """Stop recording."""
        self._loader.record(None)
        self._ended = CLOCK.now()

    def figures(self) -> Mapping[str, Any]:
        """Return the figures, as in the JSON file; times in seconds.

        Raises
        ------
        DataError
            When no batch was taken from the loader.
        """
        spans, loader = self._recorder.spans, self._loader
        waits = [span for span in spans if span.lane == "consumer"]
        if not waits:
            raise DataError(
                "a loader must give batches while it is profiled; none was taken: iterate over "
                "loader.batches(order) within the context"
            )
        stages: dict[str, list[float]] = {}
        for span in spans:
            if span.lane == "loader":
                stages.setdefault(span.name, []).append(span.end - span.begin)
        seconds, waited = self._ended - self._began, sum(span.end - span.begin for span in waits)
        taken = [after.end - before.end for before, after in pairwise(waits)]
        return {
            "schema": SCHEMA,
            "kind": "loader",
            "setting": (
                f"{len(waits):,} batches of {loader.batch_size} from {loader.dataset.path}, engine "
                f"{_named(loader.engine)}, prefetch {loader.prefetch}, {loader.device}"
            ),
            "engine": _named(loader.engine),
            "batch_size": loader.batch_size,
            "batches": len(waits),
            "seconds": seconds,
            "wait": waited,
            "copy": loader.times.copy - self._copied,
            "loading_seconds": {name: sum(values) for name, values in stages.items()},
            "steps": taken,
            "timeline": numbered(self._recorder.rows(self._began)),
            "dropped": self._recorder.dropped,
        }

    def save(self, path: Path | str) -> None:
        """Write the figures as JSON, for `trainer profile FILE.json`.

        Raises
        ------
        DataError
            When no batch was taken, or the file can't be written.
        """
        write_whole(Path(path), (dumps(self.figures()) + "\n").encode())


def _named(engine: EngineConfig) -> str:
    """Return the name of an engine in recipes; its class's for one that isn't in the table."""
    return next((name for name, cls in ENGINES.items() if cls is type(engine)), type(engine).__name__)


def numbered(rows: list[list[Any]]) -> list[list[Any]]:
    """Number the consumer's batches through all orders; the loader's keep their numbers within each."""
    numbers = iter(range(len(rows)))
    return [[*row[:4], next(numbers) if row[0] == "consumer" else row[4]] for row in rows]


@contextmanager
def profile(loader: Loader) -> Iterator[LoaderProfile]:
    """Return a context in which a loader's work and the waiting for it are recorded, in any loop.

    >>> from pipeline import profile  # doctest: +SKIP
    >>> with profile(loader) as profiled:  # doctest: +SKIP
    ...     for batch in loader.batches(order): ...
    >>> profiled.save("profile.json")  # doctest: +SKIP
    """
    made = LoaderProfile(loader)
    made.begin()
    try:
        yield made
    finally:
        made.end()
