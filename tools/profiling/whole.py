"""The whole training loop of a run, built as by `trainer run`, after warm-up, at any point of its budget."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from tools.profiling.timing import wait_for
from trainer import config
from trainer.build import build
from trainer.data import Data
from trainer.device import choose_device
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.session import Session
from trainer.warmup import warm_up

_STEPS = 100_000
"""Steps of an assumed budget, so that the steps of a profile don't advance the run's schedules."""

_LEAST = 5
_SECONDS = 0.4
"""Minimum number of steps in a window of the loop, and its approximate seconds."""


def session_at(run: config.Run, data: Data, progress: float, scratch: Path) -> Session:
    """Return a run's session after warm-up, with its next round begun at ``progress`` of the budget.

    Raises
    ------
    RunError, DataError, SamplingError
        If the run could not start.
    """
    epochs = _STEPS * run.batch_size / (run.budget * len(data.train))
    held = replace(run, epochs=max(run.epochs, epochs))
    world = World()
    session = build(held, RunFolder(scratch, held), data, world, choose_device(run.device, world))
    try:
        warm_up(session)
        session.account.charge("trained", round(progress * session.account.total), session.full)
        session.ledger.start_clock()
        session.begin_round()
    except BaseException:
        session.close()
        raise
    return session


class Loop:
    """Windows of the training loop; between them no loader thread runs."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._steps = _LEAST

    def __call__(self) -> dict[str, float]:
        """Return seconds per step of a window: in all, waiting for data, and outside of all phases.

        The first steps, in which the loader starts to prefetch, are not timed.
        """
        session, ledger = self._session, self._session.ledger
        with closing(training_steps(session)) as steps:
            for _ in range(3):
                next(steps)
            session.collect()
            ledger.settle()
            wait_for(session.device)
            phases, before = dict(ledger.seconds), time.perf_counter()
            for _ in range(self._steps):
                next(steps)
            session.collect()
            wait_for(session.device)
            taken = (time.perf_counter() - before) / self._steps
            ledger.settle()
            spent = {name: (ledger.seconds[name] - seconds) / self._steps for name, seconds in phases.items()}
        self._steps = max(_LEAST, min(session.run.log_every, math.ceil(_SECONDS / taken)))
        return {"loop": taken, "wait": spent["wait"], "rest": max(0.0, taken - sum(spent.values()))}


def training_steps(session: Session) -> Generator[None, None, None]:
    """Train as the training loop does, one step per item, without changing the weights."""
    # With a learning rate of 0 steps cost the same, and no loss diverges for lack of a warm-up.
    for group in session.step.optimizer.param_groups:
        group["initial_lr"] = 0.0
    for current in session.rounds():
        for _ in session.steps(current):
            yield
        session.finish(current)
