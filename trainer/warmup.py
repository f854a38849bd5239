"""Warm-up: compile kernels and graphs and allocate caches before timing starts."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

import numpy as np
import torch

from pipeline import Batch
from pipeline.resolution import Stage
from pipeline.targets import LABEL
from samplers import Feedback, Order
from trainer.budget.hours import TimedAccount
from trainer.budget.planning import round_size
from trainer.build import build_sampler
from trainer.evaluation import measure
from trainer.hardware.device import random_state, restore_random_state
from trainer.inference.predict import forward
from trainer.selection import OwnNetwork
from trainer.session import Session
from trainer.state import save

_REPEATS = 5
_CALLS = 10
"""Calls per measurement on a GPU: of a single one mostly launches would be measured."""


def warm_up(session: Session) -> None:
    """Run steps at every resolution, and draw an order, without any effect but the time taken.

    Compilation (of the model, if requested, and of numba's kernels), kernel selection and memory pools
    belong to the machine, not to the budget: they are timed separately, as the ledger's ``compile_seconds``.
    So is the measurement of a scoring pass's cost, which a run does once, at its beginning.
    """
    before, phases = time.perf_counter(), dict(session.ledger.seconds)
    random = random_state(session.device)
    weights = {name: value.clone() for name, value in session.method.state_dict().items()}
    own = session.selector.own
    beside = None if own is None else own.state_dict()
    stages = [Stage(pixels, resolution=pixels / session.full) for pixels in _resolutions(session)]
    batches = {stage.pixels: _load(session, stage) for stage in stages}
    streams = {stage.pixels: {feed.name: feed.first(stage) for feed in session.feeds} for stage in stages}
    for pixels, batch in batches.items():
        session.step.backward(batch, streams=streams[pixels])
    scored = _scored(session, stages)
    for stage, batch in scored:
        session.selector.score(batch, stage)
    if _must_measure(session):
        _measure(session, scored, batches[session.full], streams[session.full])
    if isinstance(session.account, TimedAccount):
        _time(session, session.account, batches[session.full], streams[session.full])
    if session.device.type == "cuda":
        _rehearse_updates(session)
    session.step.optimizer.zero_grad(set_to_none=True)
    session.method.load_state_dict(weights)
    if own is not None and beside is not None:
        own.load_state_dict(beside)
    restore_random_state(random, session.device)
    _rehearse_order(session)
    _wait(session)
    session.ledger.settle()
    session.ledger.seconds = phases
    if isinstance(session.account, TimedAccount) and session.account.clock == "wall":
        _rehearse_checkpoint(session, session.account)
    session.ledger.compile_seconds += time.perf_counter() - before


def _resolutions(session: Session) -> list[int]:
    return sorted({*session.run.resolution.stages(session.full), session.full})


def _load(session: Session, stage: Stage) -> Batch:
    """Return a batch of the training's size, augmented for ``stage``."""
    size = session.loader.batch_size
    # On a GPU as many as a loader holds at once, so that memory is page-locked before the clock starts.
    held = session.run.prefetch + 2 if session.device.type == "cuda" else 1
    order = Order(round=0, ids=np.resize(np.arange(size, dtype=np.int64), held * size))
    batch, *_ = session.loader.batches(order, augment=session.selector.views, stage=stage)
    if not session.selector.loads_more:
        return batch
    return session.selector.training_batch(batch)


# --- Cost of scoring -------------------------------------------------------------------------------------


def _must_measure(session: Session) -> bool:
    """Whether the run may score, and no earlier session has measured the cost."""
    run = session.run
    scores = run.selection.scores or run.asks == "forward" or run.counts == "compute"
    return scores and not session.ledger.score_costs


def _scored(session: Session, stages: list[Stage]) -> list[tuple[Stage, Batch]]:
    """Return candidates at each resolution of scoring, with the stage that they are scored for."""
    selector = session.selector
    if not selector.part.scores:
        return []
    works = {selector.scoring_pixels(stage): stage for stage in stages}
    return [(stage, _candidates(session, stage)) for stage in works.values()]


def _measure(
    session: Session, scored: list[tuple[Stage, Batch]], batch: Batch, streams: Mapping[str, Batch]
) -> None:
    """Time scoring passes and a training step at full resolution, per sample, interleaved.

    At the resolutions that the selection scores at, and at full resolution, where a sampler may ask for
    scores.
    """
    selector = session.selector
    works = {selector.scoring_pixels(stage): (stage, candidates) for stage, candidates in scored}
    shown = _shown(session)
    times: dict[int | None, list[float]] = {}
    for _ in range(_REPEATS + 1):
        taken = _timed(session, lambda: session.step.backward(batch, streams=streams))
        times.setdefault(None, []).append(taken / len(batch.images))
        for pixels, (stage, candidates) in works.items():
            taken = _timed(session, partial(selector.score, candidates, stage))
            taken += _own_step(session, candidates, stage)
            times.setdefault(pixels, []).append(taken / (len(candidates) * len(selector.views)))
        if session.full not in works:
            session.encoder.eval()
            with torch.no_grad():
                taken = _timed(session, lambda: forward(session.encoder, shown, session.bf16))
            times.setdefault(session.full, []).append(taken / len(shown))
            session.encoder.train()
    step = median(times.pop(None)[1:])
    costs = {pixels: median(seconds[1:]) / step for pixels, seconds in times.items() if pixels is not None}
    session.ledger.score_costs = session.world.agree(costs)


def _own_step(session: Session, candidates: Batch, stage: Stage) -> float:
    """Return the seconds of training of a selection's own network per pool; 0 where it has none."""
    own, part = session.selector.own, session.selector.part
    if own is None or not isinstance(part, OwnNetwork):
        return 0.0
    _, _, images = session.selector.score(candidates, stage)
    _wait(session)
    count = session.run.batch_size // session.world.size
    labels = candidates.targets[LABEL][:count]
    return _timed(session, partial(own.backward, images[:count], labels)) / part.every


def _time(session: Session, account: TimedAccount, batch: Batch, streams: Mapping[str, Batch]) -> None:
    """Time a step at full resolution, and an evaluation if it is on the clock; check that a round fits.

    Raises
    ------
    RunError
        When the run's hours hold no round.
    """
    steps = []
    for _ in range(_REPEATS + 1):
        steps.append(_timed(session, lambda: session.step.backward(batch, streams=streams)))
    evaluation = 0.0
    if account.clock == "wall":
        before = time.perf_counter()
        measure(session.evaluators, session.network, lambda: False)
        evaluation = _since(session, before)
    agreed = session.world.agree({0: median(steps[1:]), 1: evaluation})
    account.begin(agreed[0], agreed[1])
    first = session.run.resolution.at(0.0, session.full).pixels or session.full
    account.check_round(round_size(session.run, session.data), first)


def _rehearse_checkpoint(session: Session, account: TimedAccount) -> None:
    """Write a checkpoint before the first step: a short run has no other by which to time its last one."""
    if session.ledger.steps:
        return
    session.ledger.start_clock()
    before = time.perf_counter()
    save(session)
    account.last["checkpoint"] = session.world.agree({0: _since(session, before)})[0]
    session.ledger.seconds["checkpoint"] = 0.0


def _shown(session: Session) -> torch.Tensor:
    """Return the images of a batch, as for scores that a sampler requests."""
    order = Order(round=0, ids=np.arange(session.loader.batch_size, dtype=np.int64))
    view = session.view
    batch = next(session.loader.batches(order, augment=view.augmentation, stage=view.stage))
    return batch.images[: session.run.batch_size // session.world.size]


def _candidates(session: Session, stage: Stage) -> Batch:
    """Return a batch of candidates, as for scoring."""
    order = Order(round=0, ids=np.arange(session.loader.batch_size, dtype=np.int64))
    views, asked = session.selector.views, session.selector.stage(stage)
    return next(session.loader.batches(order, augment=views, stage=asked))


def _timed(session: Session, work: Callable[[], object]) -> float:
    """Return the seconds of a call, on a GPU of one among several in a row."""
    calls = _CALLS if session.device.type == "cuda" else 1
    before = time.perf_counter()
    for _ in range(calls):
        work()
    return _since(session, before) / calls


def _since(session: Session, before: float) -> float:
    _wait(session)
    return time.perf_counter() - before


def _wait(session: Session) -> None:
    if session.device.type == "cuda":
        torch.cuda.synchronize(session.device)


def _rehearse_updates(session: Session) -> None:
    """Load the kernels of an update, by the last backward pass; weights change, and the optimizer doesn't."""
    optimizer = session.step.optimizer
    before = copy.deepcopy(optimizer.state_dict())
    optimizer.step()
    optimizer.load_state_dict(before)


def _rehearse_order(session: Session) -> None:
    """Run one observe/next_order cycle on a throw-away sampler to compile its kernels."""
    shadow = build_sampler(session.run, session.plan)
    ids = np.arange(session.run.batch_size, dtype=np.int64)
    loss = np.linspace(0.1, 2, len(ids), dtype=np.float32)
    for _ in range(min(2, shadow.rounds)):
        shadow.observe(
            Feedback(0, ids, loss, np.exp(-loss), np.ones(len(ids), np.bool_), error=loss, gradient=loss)
        )
        shadow.next_order()
