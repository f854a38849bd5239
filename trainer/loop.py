"""The one training loop, from the top to the bottom of a run."""

from __future__ import annotations

import torch

from trainer.config import Run
from trainer.data import open_data
from trainer.device import choose_device
from trainer.environment import environment
from trainer.errors import InterruptedRunError
from trainer.evaluate import evaluate
from trainer.interrupt import stop_on_signal
from trainer.models import parameters
from trainer.parallel import World
from trainer.record import RunFolder
from trainer.schedules import progress_of
from trainer.score import score
from trainer.session import Session, build
from trainer.warmup import warm_up
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
        When the run can't begin; nothing is trained then.
    DivergedError
        When the loss is no longer finite.
    InterruptedRunError
        After Ctrl-C or SIGTERM, once a checkpoint is written.
    """
    # --- Build -------------------------------------------------------------------------------------------
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    device = choose_device(run.device, world)
    data = open_data(run, world, watcher.converting)
    session = build(run, folder, data, world, device)
    ledger = session.ledger
    try:
        resumed = session.resume()
        if world.leads:
            folder.begin()
            folder.rewind(ledger.steps)
            if not resumed:
                sets = {"train": data.train.card.digest, "test": data.test.card.digest}
                folder.write_json("environment.json", {**environment(device), "data_sha256": sets})
        warm_up(session)
        ledger.start_clock()
        watcher.started(session, resumed)

        # --- Rounds --------------------------------------------------------------------------------------
        log = Log(session, watcher)
        with stop_on_signal() as asked:
            while ledger.steps < session.plan.steps:
                if session.order is None:
                    with ledger.phase("sampler"):
                        session.order = session.sampler.next_order()
                    session.done = 0
                for batch in session.loader.batches(session.order, start=session.done):
                    set_rates(session)
                    with ledger.phase("augment"):
                        augmented = session.chain.apply(batch)
                    losses = session.step(augmented)
                    session.feedback.add(augmented, losses)
                    session.count_step()
                    if ledger.steps % run.log_every == 0 or session.asks_ahead:
                        log.write()
                    # Ranks must agree on when to stop and to save; alone, one can look at every step.
                    if world.size > 1 and ledger.steps % run.log_every:
                        continue
                    if world.any(asked()):
                        log.write()
                        session.save()
                        raise InterruptedRunError(
                            f"stopped at step {ledger.steps:,} of {session.plan.steps:,}; "
                            f"the same command goes on from {folder.checkpoint}"
                        )
                    if world.any(log.since_checkpoint() > run.checkpoint_seconds):
                        log.write()
                        session.save()
                        log.saved()
                log.write()
                if session.order.score_ids is not None:
                    score(session, session.order.score_ids)
                    session.collect()
                session.order = None
                ledger.rounds += 1
                if ledger.rounds % run.evaluate_every == 0 or ledger.steps == session.plan.steps:
                    _evaluate(session, watcher)

        # --- End -----------------------------------------------------------------------------------------
        session.save()
        finish(session)
    except BaseException:
        session.close()
        raise
    return session


def set_rates(session: Session) -> None:
    """Set the learning rate, and the momentum where the schedule has one, for the step to come."""
    assert session.order is not None
    schedule = session.schedule
    progress = progress_of(session.ledger.steps, session.plan.steps)
    momentum = schedule.momentum(progress)
    for group in session.step.optimizer.param_groups:
        group["lr"] = session.run.lr * schedule.factor(progress) * session.order.lr_scale
        if momentum is not None:
            group["momentum"] = momentum


def _evaluate(session: Session, watcher: Watcher) -> None:
    ledger = session.ledger
    with ledger.phase("evaluate"):
        result = evaluate(
            session.model,
            session.test_loader,
            session.plain_chain,
            bf16=session.bf16,
            world=session.world,
        )
    ledger.evaluated += result.samples
    if session.world.leads:
        session.folder.append(
            "evaluations.jsonl",
            {
                "step": ledger.steps,
                "round": ledger.rounds,
                "samples": ledger.trained,
                "progress": ledger.steps / session.plan.steps,
                "seconds": ledger.train_seconds,
                "accuracy": result.accuracy,
                "loss": result.loss,
            },
        )
    watcher.evaluated(session, result)


def finish(session: Session) -> None:
    """Write what only the end of a run knows: the ledger and one row a sample."""
    run, plan, totals = session.run, session.plan, session.ledger.summary()
    if not session.world.leads:
        return
    train = session.data.train
    session.samples.write(session.folder.path / "samples.parquet", train.labels, train.card.classes)
    session.folder.write_json(
        "ledger.json",
        {
            "finished": True,
            "budget": run.budget,
            "planned": plan.total,
            "full_budget_samples": round(run.epochs * plan.samples),
            **totals,
            "parameters": parameters(session.model),
            "weights": session.fingerprint(),
        },
    )
