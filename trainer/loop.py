"""The one training loop, from the top to the bottom of a run."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from pipeline import Batch
from trainer.build import build
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
from trainer.samples import entropy
from trainer.score import score
from trainer.select import Ready
from trainer.session import Session
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
    ledger, budget = session.ledger, session.budget
    try:
        resumed = session.resume()
        if world.leads:
            folder.begin()
            folder.rewind(ledger.steps, ledger.rounds)
            if not resumed:
                sets = {"train": data.train.card.digest, "test": data.test.card.digest}
                folder.write_json("environment.json", {**environment(device), "data_sha256": sets})
        warm_up(session)
        ledger.start_clock()
        watcher.started(session, resumed)

        # --- Rounds --------------------------------------------------------------------------------------
        log = Log(session, watcher)
        looked = 0
        evaluated = _evaluated_at(folder)
        with stop_on_signal() as asked:
            while session.goes_on():
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
                        log.write()
                    if not session.goes_on():
                        break
                    # Ranks must agree on when to stop and to save; alone, one can look at every step.
                    if world.size > 1 and ledger.steps // run.log_every == looked:
                        continue
                    looked = ledger.steps // run.log_every
                    if world.any(asked()):
                        log.write()
                        session.save()
                        raise InterruptedRunError(
                            f"stopped at step {ledger.steps:,}, {budget.progress(ledger):.0%} of the budget; "
                            f"the same command goes on from {folder.checkpoint}"
                        )
                    if world.any(log.since_checkpoint() > run.checkpoint_seconds):
                        log.write()
                        session.save()
                        log.saved()
                log.write()
                end_round(session)
                due = ledger.rounds % run.evaluate_every == 0 or not session.goes_on()
                # A selection that keeps by chance may have kept too few of a round's samples for a step.
                if due and ledger.steps > evaluated:
                    _evaluate(session, watcher)
                    evaluated = ledger.steps

        # --- End -----------------------------------------------------------------------------------------
        session.save()
        finish(session)
    except BaseException:
        session.close()
        raise
    return session


def candidates(session: Session) -> Iterator[Batch]:
    """What is left of the round's order, batch by batch, as the selector wants it."""
    assert session.order is not None
    selector = session.selector
    return session.loader.batches(
        session.order, start=session.done, augment=selector.chain, stage=selector.stage(session.stage)
    )


def set_rates(session: Session, ready: Ready) -> None:
    """Set the learning rate, and the momentum where the schedule has one, for the step to come."""
    assert session.order is not None
    schedule = session.schedule
    progress = session.budget.schedule_progress(
        session.ledger, session.cost, session.scoring_cost, scored=ready.choice is not None
    )
    momentum = schedule.momentum(progress)
    for group in session.step.optimizer.param_groups:
        group["lr"] = session.run.lr * schedule.factor(progress) * session.order.lr_scale
        if momentum is not None:
            group["momentum"] = momentum


def end_round(session: Session) -> None:
    """Let the sampler see what it asks for, and the selection draw its conclusions."""
    assert session.order is not None
    ids = session.order.score_ids
    if ids is not None and session.affords_scores(len(ids)):
        score(session, ids)
        session.collect()
    session.selector.selection.end_round()
    session.order = None
    session.ledger.rounds += 1


def _evaluated_at(folder: RunFolder) -> int:
    """The step of the run's last evaluation, 0 before the first."""
    if not (folder.path / "evaluations.jsonl").exists():
        return 0
    steps: list[int] = [line["step"] for line in folder.read("evaluations.jsonl")]
    return max(steps, default=0)


def _evaluate(session: Session, watcher: Watcher) -> None:
    ledger, data = session.ledger, session.data
    with ledger.phase("evaluate"):
        result = evaluate(
            session.model,
            session.test_loader,
            session.evaluation_view,
            classes=len(data.test.card.classes),
            bf16=session.bf16,
            world=session.world,
        )
        variety = entropy(session.samples.times_seen)
    ledger.evaluated += result.samples
    if session.world.leads:
        line: dict[str, float | None] = {
            "step": ledger.steps,
            "round": ledger.rounds,
            "samples": ledger.trained,
            "progress": session.budget.progress(ledger),
            "compute": session.budget.compute(ledger),
            "seconds": ledger.train_seconds,
            "accuracy": result.accuracy,
            "loss": result.loss,
            "entropy": variety,
        }
        if data.multiplied is not None:
            line["accuracy_multiplied"], line["accuracy_others"] = result.apart(data.multiplied)
        session.folder.append("evaluations.jsonl", line)
    watcher.evaluated(session, result)


def finish(session: Session) -> None:
    """Write what only the end of a run knows: the ledger, and the samples' table."""
    run, budget, ledger = session.run, session.budget, session.ledger
    totals = ledger.summary()
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
            "planned": budget.total,
            "full_budget_samples": budget.full,
            "spent": budget.spent(ledger),
            "compute": budget.compute(ledger),
            "charged": budget.charged,
            "train_costs": {str(pixels): cost for pixels, cost in sorted(budget.train_costs.items())},
            **totals,
            "score_cost": session.score_cost,
            "forward_flops": session.forward_flops,
            "flops": session.forward_flops * budget.forward_passes(ledger),
            "parameters": parameters(session.model),
            "weights": session.fingerprint(),
        },
    )
