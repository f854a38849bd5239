"""Few files are on the way of a batch, so that a person can follow it through the code.

Counted are the files of our four packages in which anything runs, kernels included. A set of more samples
than one bucket of `samplers.draws.shuffle` is shuffled by threads: one file more per round.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import trainer
from trainer import RunFolder, open_session
from trainer.config import Run
from trainer.session import Session

ROOT = Path(trainer.__file__).parents[1]
PACKAGES = ("pipeline", "samplers", "trainer", "tools")
STEP, ROUND, FOMS_ROUND = 15, 24, 28


class Visits:
    """The files that are visited while it records, in all threads that began after it was made."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self._recording = False
        threading.setprofile(self._seen)

    def _seen(self, frame: FrameType, event: str, argument: Any) -> None:
        if not self._recording or event != "call":
            return
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(ROOT) and file.relative_to(ROOT).parts[0] in PACKAGES:
            self.files.add(file.relative_to(ROOT).as_posix())

    @contextmanager
    def recorded(self) -> Iterator[set[str]]:
        """Return a context that records its files alone."""
        self.files, self._recording = set(), True
        sys.setprofile(self._seen)
        try:
            yield self.files
        finally:
            sys.setprofile(None)
            self._recording = False


@pytest.fixture
def visits() -> Iterator[Visits]:
    yield Visits()
    threading.setprofile(None)


@pytest.fixture
def opened(recipe: Callable[..., Run], tmp_path: Path) -> Callable[..., Session]:
    def make(**entries: Any) -> Session:
        run = recipe(model={"name": "resnet8", "width": 8}, log_every=1000, **entries)
        return open_session(run, RunFolder(tmp_path / "run", run))

    return make


def show(files: set[str]) -> str:
    return "\n  ".join((f"{len(files)} files:", *sorted(files)))


def test_a_steady_step_of_the_plainest_run(visits: Visits, opened: Callable[..., Session]) -> None:
    with opened() as session:
        steps = session.steps(next(session.rounds()))
        for _ in range(2):
            next(steps)
        with visits.recorded() as files:
            next(steps)
    assert "trainer/step.py" in files
    assert len(files) <= STEP, show(files)


@pytest.mark.parametrize(
    ("entries", "most", "own"),
    [({}, ROUND, "samplers/uniform.py"), ({"selection": "foms"}, FOMS_ROUND, "trainer/selection/foms.py")],
    ids=["plain", "foms"],
)
def test_a_round_of_two_steps(
    visits: Visits, opened: Callable[..., Session], entries: dict[str, Any], most: int, own: str
) -> None:
    with opened(**entries) as session:
        rounds = session.rounds()
        for _ in session.steps(first := next(rounds)):
            pass
        session.finish(first)
        with visits.recorded() as files:
            current = next(rounds)
            steps = session.steps(current)
            for _ in range(2):
                next(steps)
            session.finish(current)
    assert own in files
    assert len(files) <= most, show(files)


def test_threads_are_followed(visits: Visits, opened: Callable[..., Session]) -> None:
    """A sampler's thread is asked for its next order by a step, and is the only one to draw it."""
    with opened(service="thread", lead=1) as session, visits.recorded() as files:
        for _ in session.steps(next(session.rounds())):
            pass
        session.sampler.state_dict()
    assert "samplers/draws/shuffle.py" in files
