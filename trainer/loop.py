"""The one training loop, from the top to the bottom of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from pipeline import Batch
from pipeline.clock import CLOCK
from trainer.begin import begin
from trainer.config import Run
from trainer.errors import InterruptedRunError
from trainer.evaluators.classification import evaluate
from trainer.interrupt import Stop, Stopped, stop_on_signal
from trainer.models import parameters
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.sample_table import entropy
from trainer.score import score
from trainer.selection.driver import Ready
from trainer.session import Session
from trainer.state import save
from trainer.watch import Log, Watcher


def train(run: Run, folder: RunFolder, world: World, watcher: Watcher) -> Session:
    """Train ``run`` to the end of its budget, or on from where an earlier session of it stopped.

    Returns
    -------
    Session
        At its end; the caller closes it.

    Raises
    ------
    RunError, DataError, SamplingError
        When the run can't begin; nothing is trained then. Or when its folder can't be written to; what was
        written stands.
    DivergedError
        When the loss or the weights are no longer finite.
    InterruptedRunError
        After a signal that asks to stop, once a checkpoint is written.
    Stopped
        After such a signal before the first step.
    """
    with stop_on_signal() as stop, folder.held(world.leads), CLOCK.watching():
        session = begin(run, folder, world, watcher)
        ledger, log = session.ledger, Log(session, watcher)
        try:
            with stop.patiently():
                # --- Rounds --------------------------------------------------------------------------
                looked = ledger.steps // run.log_every
                while session.unevaluated or session.goes_on():
                    if session.unevaluated:
                        _evaluate(session, log, watcher, stop)
                        continue
                    if session.order is None:
                        session.begin_round()
                    for raw in candidates(session):
                        for ready in session.selector.ready(raw, session.stage, session.selects):
                            if not session.goes_on():
                                break
                            set_rates(session, ready)
                            session.train(ready)
                            if ledger.steps % run.log_every == 0:
                                log.write()
                        session.done += 1
                        if session.asks_ahead:
                            log.collect()
                        if not session.goes_on():
                            break
                        # Ranks must agree on when to stop and to save; alone, one can look at every step.
                        if world.size > 1 and ledger.steps // run.log_every == looked:
                            continue
                        looked = ledger.steps // run.log_every
                        if world.any(stop.asked):
                            _interrupt(session, log, stop)
                        if world.any(log.since_checkpoint() > run.checkpoint_seconds):
                            log.collect()
                            save(session)
                            log.saved()
                    log.write()
                    if not end_round(session, stop):
                        _interrupt(session, log, stop)

                # --- End -----------------------------------------------------------------------------
                save(session)
                finish(session)
        except BaseException:
            session.close()
            raise
    return session


def _interrupt(session: Session, log: Log, stop: Stop) -> NoReturn:
    log.collect()
    save(session)
    ledger, by = session.ledger, "" if stop.by is None else f" by {stop.by}"
    raise InterruptedRunError(
        f"stopped{by} at step {ledger.steps:,}, {session.account.progress:.0%} of the budget; "
        f"the same command goes on from {session.folder.checkpoint}"
    )


def candidates(session: Session) -> Iterator[Batch]:
    """What is left of the round's order, batch by batch, as the selector wants it."""
    assert session.order is not None
    selector = session.selector
    return session.loader.batches(
        session.order, start=session.done, augment=selector.chain, stage=selector.stage(session.stage)
    )


def set_rates(session: Session, ready: Ready) -> None:
    """Set each group's learning rate, and its momentum where schedule and optimizer have one, for a step."""
    assert session.order is not None
    schedule, key = session.schedule, session.run.optimizer.momentum_key
    progress = session.account.schedule_progress(
        session.cost, session.scoring_cost, scored=ready.choice is not None
    )
    momentum = schedule.momentum(progress)
    for group in session.step.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * schedule.factor(progress) * session.order.lr_scale
        if momentum is not None and key is not None:
            group[key] = momentum


def end_round(session: Session, stop: Stop | None = None) -> bool:
    """Let the sampler see what it asks for, and the selection draw its conclusions.

    Returns
    -------
    bool
        Whether it came to its end; where ``stop`` kept it from that, nothing has changed.
    """
    assert session.order is not None
    run, ledger, ids = session.run, session.ledger, session.order.score_ids
    if ids is not None and session.affords_scores(len(ids)):
        try:
            with _stoppable(session, stop or Stop()) as asked:
                score(session, ids, asked)
        except Stopped:
            session.feedback.clear()
            return False
        session.collect()
    session.selector.selection.end_round()
    session.order = None
    ledger.rounds += 1
    due = ledger.rounds % run.evaluate_every == 0 or not session.goes_on()
    # A selection that keeps by chance may have kept too few of a round's samples for a step.
    session.unevaluated = due and ledger.steps > session.evaluated
    return True


def _evaluate(session: Session, log: Log, watcher: Watcher, stop: Stop) -> None:
    ledger, data = session.ledger, session.data
    session.check_weights()
    try:
        with ledger.phase("evaluate"), _stoppable(session, stop) as asked:
            result = evaluate(
                session.model,
                session.test_loader,
                session.evaluation_view,
                classes=len(data.test.card.classes),
                bf16=session.bf16,
                world=session.world,
                asked=asked,
            )
    except Stopped:
        _interrupt(session, log, stop)
    if not (math.isfinite(result.loss) or session.goes_on()):
        raise session.diverged(f"loss must be finite; got {result.loss} in the last evaluation")
    with ledger.phase("evaluate"):
        variety = entropy(session.samples.times_seen)
    ledger.evaluated += result.samples
    session.unevaluated, session.evaluated = False, ledger.steps
    if session.world.leads:
        line: dict[str, float | None] = {
            "step": ledger.steps,
            "round": ledger.rounds,
            "samples": ledger.trained,
            "progress": session.account.progress,
            "compute": session.account.compute,
            "seconds": ledger.train_seconds,
            "accuracy": result.accuracy,
            "loss": result.loss,
            "entropy": variety,
        }
        if data.multiplied is not None:
            line["accuracy_multiplied"], line["accuracy_others"] = result.apart(data.multiplied)
        session.folder.append("evaluations.jsonl", line)
    watcher.evaluated(session, result)


@contextmanager
def _stoppable(session: Session, stop: Stop) -> Iterator[Callable[[], bool]]:
    """Let a signal end forward passes: alone at once, else after a batch, at which all ranks ask for it."""
    if session.world.size > 1:
        yield lambda: session.world.any(stop.asked)
        return
    with stop.at_once():
        yield lambda: stop.asked


def finish(session: Session) -> None:
    """Write what only the end of a run knows: the ledger, and the samples' table."""
    run, totals = session.run, session.account.summary()
    if not session.world.leads:
        return
    importance = session.sampler.importance()
    session.samples.write(session.folder.path / "samples.parquet", session.data.train, importance)
    session.folder.write_json(
        "ledger.json",
        {
            "finished": True,
            "budget": run.budget,
            "counts": run.counts,
            **totals,
            "parameters": parameters(session.model),
            "weights": session.fingerprint(),
        },
    )
