"""What importance sampling costs a run: rounds with one sampler against rounds with another, in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.bench import measure
from tools.bench.clock import Clock
from tools.bench.sessions import noise, step, warm_session
from trainer.data import Data
from trainer.session import Session


@dataclass(frozen=True)
class RoundsBench:
    """Wall-clock of a sampler's rounds (order, training, feedback) relative to uniform's."""

    samplers: tuple[str, ...] = ("p_sgd",)
    """Cases run/NAME to measure; the peer is uniform."""

    model: str = "resnet8"
    """Network to train."""

    samples: int = 50_000
    """Size of the training set, 32 px."""

    budget: float = 0.1
    """Share of the set in a round."""

    repeats: int = 15
    """Rounds a sampler; medians are given."""

    device: str = "auto"
    """Where to train."""

    def rows(self, clock: Clock | None = None) -> list[measure.Row]:
        """One row a sampler, in seconds a round."""
        clock = clock or Clock()
        return self.measured(clock, clock.cases(self.samplers))

    def measured(self, clock: Clock, samplers: Iterable[str]) -> list[measure.Row]:
        """Return a row per sampler, within a case that is under way."""
        with tempfile.TemporaryDirectory(prefix="trainer-bench-") as scratch:
            data = noise(Path(scratch), self.samples, pixels=32)
            return [self._row(name, data, Path(scratch), clock) for name in samplers]

    def _row(self, name: str, data: Data, scratch: Path, clock: Clock) -> measure.Row:
        entries = {"model": self.model, "budget": self.budget, "device": self.device}
        sessions = [
            warm_session(data, scratch / f"{name}-{part}", sampler=part, **entries)
            for part in (name, "uniform")
        ]
        ours, theirs = measure.interleave(
            [one_round(session) for session in sessions], self.repeats, clock=clock
        )
        for session in sessions:
            session.close()
        return measure.Row.compare(f"run/{name}", ours, "s", "uniform", theirs)


def one_round(session: Session) -> Callable[[], None]:
    """Work that draws an order, trains on it, and lets the sampler hear what came of it."""

    def work() -> None:
        for batch in session.loader.batches(session.sampler.next_order()):
            step(session, session.selector.chain.apply(batch))
            if len(session.feedback) == session.run.log_every:
                session.sampler.observe(session.feedback.drain(0).feedback)
        session.sampler.observe(session.feedback.drain(0).feedback)

    return work
