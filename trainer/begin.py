"""Opening a session: of a new run, or of one that resumes from its checkpoint."""

from __future__ import annotations

from typing import Any

import torch

from trainer import inputs
from trainer.build import build
from trainer.checkpoint import Found, set_aside
from trainer.config import Run
from trainer.data import open_data
from trainer.environment import differences, environment
from trainer.hardware.device import choose_device, use_bf16
from trainer.inference.trained import Description
from trainer.metrics import to_list
from trainer.parallel import World
from trainer.run_folder import RunFolder
from trainer.session import Session
from trainer.state import find, restore
from trainer.warmup import warm_up
from trainer.watch import Silent, Watcher


def open_session(
    run: Run, folder: RunFolder, world: World | None = None, watcher: Watcher | None = None
) -> Session:
    """Return a session at the position where an earlier one stopped, warmed up and with its clock started.

    Parameters
    ----------
    world
        The ranks that train together (`trainer.parallel.join`); by default this process alone.
    watcher
        Notified of conversions, notes and evaluations; by default nobody is.

    Raises
    ------
    RunError, DataError, SamplingError
        When the run can't begin, or can't resume from its folder.
    """
    world, watcher = world or World(), watcher or Silent()
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    device = choose_device(run.device, world)
    data = open_data(run, world, watcher.converting)
    now, found = inputs.digests(run, data), find(folder, world)
    before: dict[str, Any] = {} if found is None else found.state
    changed = inputs.check(run, before.get("inputs", {}), now, folder.path)
    kept = before.get("bf16") if run.precision == "auto" else None
    session = build(run, folder, data, world, device, kept, resumed=found is not None)
    try:
        begun = inputs.initial_weights(run) if found is None else inputs.kept(before.get("inputs", {}))
        session.inputs = {**now, **begun}
        if found is not None:
            restore(session, found)
        if world.leads:
            _record(session, found, changed, watcher)
        warm_up(session)
        session.ledger.start_clock()
        watcher.started(session, found is not None)
    except BaseException:
        session.close()
        raise
    return session


def _record(session: Session, found: Found | None, changed: str | None, watcher: Watcher) -> None:
    """Write the initial files of a run folder, or note differences from them."""
    folder, here = session.folder, environment(session.device)
    folder.begin()
    broken = folder.rewind(session.line.step, session.evaluated)
    if broken:
        watcher.note(f"{broken} lines of {folder.path}'s logs can't be read, and are left out")
    if found is None:
        metrics = to_list(session.run.metrics)
        network = Description.of(session).table()
        folder.write_json(
            "environment.json",
            {**here, "data_sha256": session.inputs, "metrics": metrics, "network": network},
        )
        return
    if found.damaged is not None:
        set_aside(folder.checkpoint)
        watcher.note(f"{found.damaged}; going on from the one before it, {found.path}")
    told = folder.environment
    if changed is not None:
        changes = [*told.get("changes", []), {"step": session.ledger.steps, "changed": changed}]
        folder.write_json("environment.json", {**told, "data_sha256": session.inputs, "changes": changes})
        watcher.note(f"going on with other data: {changed}")
    other = differences(told, here)
    if other is not None:
        watcher.note(f"{other}: it may end with other weights than if it had not been stopped")
    if use_bf16(session.run, session.device) != session.bf16:
        precision = "bf16" if session.bf16 else "fp32"
        watcher.note(f"precision {precision} is kept, as the run began; --precision says which to take")
