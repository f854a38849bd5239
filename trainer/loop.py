"""The training loop of a whole run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from pipeline.clock import CLOCK
from trainer.begin import open_session
from trainer.config import Run
from trainer.data import open_data
from trainer.errors import InterruptedRunError
from trainer.hardware.faults import in_one_line
from trainer.interrupt import Stop, Stopped, stop_on_signal
from trainer.models import parameters
from trainer.parallel import World
from trainer.recording import Recording
from trainer.run_folder import SCHEMA, RunFolder
from trainer.sample_table import entropy
from trainer.session import Session
from trainer.sinks import Sinks
from trainer.state import save
from trainer.watch import Log, Silent, Watcher, open_sinks


def train(
    run: Run,
    folder: RunFolder,
    world: World | None = None,
    watcher: Watcher | None = None,
    recording: Recording | None = None,
) -> Session:
    """Train ``run`` to the end of its budget, resuming where an earlier session of it stopped.

    Parameters
    ----------
    world
        The ranks that train together (`trainer.parallel.join`); by default this process alone.
    watcher
        Notified of progress, as `trainer.Lines`; by default nobody is.
    recording
        Steps to record, as the run folder's profile.json; None for none.

    Returns
    -------
    Session
        The session at its end; the caller closes it.

    Raises
    ------
    RunError, DataError, SamplingError
        When the run can't begin, or a sink's package is missing; nothing is trained then. Or when its folder
        can't be written to, or the device's memory doesn't suffice; files written before are kept.
    DivergedError
        When the loss or the weights are no longer finite.
    InterruptedRunError
        After a signal to stop, once a checkpoint is written.
    Stopped
        After such a signal before the first step.
    """
    world, watcher = world or World(), watcher or Silent()
    if recording is not None:
        # Before the run has a folder, which a refusal would leave behind.
        recording.check(run, len(open_data(run, world, watcher.converting).train))
    with stop_on_signal() as stop, folder.held(world.leads), CLOCK.watching(), in_one_line(run):
        for sink in run.sinks:
            sink.check()
        session = open_session(run, folder, world, watcher)
        try:
            with open_sinks(session) as sinks, stop.patiently():
                log = Log(session, watcher, sinks)
                if recording is not None:
                    recording.stepped(session)
                # What sinks took to open is no training time.
                session.ledger.start_clock()
                if session.unevaluated:
                    _evaluate(session, watcher, sinks, stop)
                for current in session.rounds():
                    try:
                        for step in session.steps(current, stop):
                            if recording is not None:
                                recording.stepped(session)
                            if step.number % run.log_every == 0:
                                log.note()
                            if step.complete and session.goes_on():
                                _save_or_stop(session, log, stop)
                        log.write()
                        # With a random selection there may have been no step at which to stop.
                        if world.size == 1 and stop.asked and session.goes_on():
                            _interrupt(session, stop)
                        session.finish(current, stop)
                    except Stopped:
                        _interrupt(session, stop)
                    if session.unevaluated:
                        _evaluate(session, watcher, sinks, stop)
                save(session)
                finish(session)
        except BaseException:
            session.close()
            raise
    return session


def _save_or_stop(session: Session, log: Log, stop: Stop) -> None:
    """Write a checkpoint if one is due or a stop is requested, and then stop."""
    # Ranks must agree on when to stop and to save; a single process can check at every step.
    if session.world.size > 1 and not log.due():
        return
    if session.world.any(stop.asked):
        log.catch_up()
        _interrupt(session, stop)
    if session.world.any(log.since_checkpoint() > session.run.checkpoint_seconds):
        log.catch_up()
        save(session)
        log.saved()


def _interrupt(session: Session, stop: Stop) -> NoReturn:
    save(session)
    ledger, by = session.ledger, "" if stop.by is None else f" by {stop.by}"
    raise InterruptedRunError(
        f"stopped{by} at step {ledger.steps:,}, {session.account.progress:.0%} of the budget; "
        f"the same command goes on from {session.folder.checkpoint}"
    )


def _evaluate(session: Session, watcher: Watcher, sinks: Sinks, stop: Stop) -> None:
    ledger, account = session.ledger, session.account
    try:
        found = session.evaluate(stop)
    except Stopped:
        _interrupt(session, stop)
    seconds = ledger.train_seconds
    with ledger.phase("evaluate"):
        sinks.evaluation(
            {
                "schema": SCHEMA,
                "step": ledger.steps,
                "round": ledger.rounds,
                "samples": ledger.trained,
                "progress": account.progress,
                "compute": account.compute,
                "seconds": seconds,
                "entropy": entropy(session.samples.times_seen),
                "metrics": found,
            }
        )
        if session.run.keep_best and session.improves(found):
            save(session, best=True)
        watcher.evaluated(session, found)


def _price(run: Run, totals: Mapping[str, Any]) -> dict[str, float]:
    """Return what a machine that is paid by the hour costs: for set-up, evaluation and checkpoints, too."""
    if run.price_per_hour is None:
        return {}
    hours = (totals["wall_seconds"] + totals["compile_seconds"]) / 3600
    return {"price_per_hour": run.price_per_hour, "price": run.price_per_hour * hours}


def finish(session: Session) -> None:
    """Write the files of a finished run: the ledger, and the sample table."""
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
            "counts": session.account.counts,
            **totals,
            **_price(run, totals),
            "parameters": parameters(session.method),
            "weights": session.fingerprint(),
        },
    )
