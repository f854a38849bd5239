"""Benchmark of the overhead of importance sampling: rounds with a sampler against uniform, interleaved."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.bench import measure
from tools.bench.clock import Clock
from tools.bench.sessions import noise, warm_session
from trainer.data import Data
from trainer.session import Session


@dataclass(frozen=True)
class RoundsBench:
    """Wall-clock of a sampler's rounds (order, training, feedback) relative to uniform's."""

    samplers: tuple[str, ...] = ("p_sgd",)
    """Samplers to measure, as cases run/NAME; the peer is uniform."""

    model: str = "resnet8"
    """Network to train."""

    samples: int = 50_000
    """Size of the training set, 32 px."""

    budget: float = 0.1
    """Round size as a fraction of the set."""

    repeats: int = 15
    """Rounds per sampler; medians are reported."""

    device: str = "auto"
    """Device to train on."""

    def rows(self, clock: Clock | None = None) -> list[measure.Row]:
        """Return one row per sampler, in seconds per round."""
        clock = clock or Clock()
        return self.measured(clock, clock.cases(self.samplers))

    def measured(self, clock: Clock, samplers: Iterable[str]) -> list[measure.Row]:
        """Return one row per sampler, within the current case."""
        with tempfile.TemporaryDirectory(prefix="trainer-bench-") as scratch:
            data = noise(Path(scratch), self.samples, pixels=32)
            return [self._row(name, data, Path(scratch), clock) for name in samplers]

    def _row(self, name: str, data: Data, scratch: Path, clock: Clock) -> measure.Row:
        entries = {"model": self.model, "budget": self.budget, "device": self.device}
        with (
            warm_session(data, scratch / f"{name}-{name}", sampler=name, **entries) as ours_session,
            warm_session(data, scratch / f"{name}-uniform", sampler="uniform", **entries) as plain_session,
        ):
            works = [one_round(ours_session), one_round(plain_session)]
            ours, theirs = measure.interleave(works, self.repeats, clock=clock)
        return measure.Row.compare(f"run/{name}", ours, "s", "uniform", theirs)


def one_round(session: Session) -> Callable[[], None]:
    """Return a call that draws an order, trains on it, and passes the feedback to the sampler."""
    rounds = session.rounds()

    def work() -> None:
        current = next(rounds)
        for _ in session.steps(current):
            pass
        session.finish(current)

    return work
