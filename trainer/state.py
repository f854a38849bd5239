"""State of a session: saved as a checkpoint, and restored from one."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from pipeline.resolution import Stage
from samplers import Order
from trainer import checkpoint
from trainer.checkpoint import Found
from trainer.errors import RunError
from trainer.hardware.device import random_state, restore_random_state
from trainer.parallel import World
from trainer.parts import Line
from trainer.run_folder import RunFolder
from trainer.sample_table import SampleRecord
from trainer.session import Session


def save(session: Session, *, best: bool = False) -> None:
    """Write a checkpoint from which the run ends with the same weights.

    Pending feedback on the device is passed to the sampler first.

    Parameters
    ----------
    best
        Write it as that of the best evaluation, beside the last one, which stays as it is.

    Raises
    ------
    DivergedError
        When the weights are no longer finite; the previous checkpoint is kept.
    RunError, DataError
        When another process has taken the folder over, or it can't be written to.
    """
    session.collect()
    with session.ledger.phase("checkpoint"):
        session.check_weights()
        # Statistics, selections and random states differ between ranks.
        own = {
            "buffers": dict(session.method.named_buffers()),
            "selection": session.selector.state_dict(),
            "random": random_state(session.device),
        }
        ranks = session.world.gather(own)
        if not session.world.leads:
            return
        session.folder.check_held()
        state = {
            "settings": session.folder.table,
            "inputs": session.inputs,
            "bf16": session.bf16,
            "method": session.method.state_dict(),
            "optimizer": session.step.optimizer.state_dict(),
            "sampler": session.sampler.state_dict(),
            "ranks": ranks,
            "feeds": {feed.name: feed.state_dict() for feed in session.feeds},
            "samples": session.samples.state_dict(),
            "order": None if session.order is None else _attributes(session.order),
            "stage": _attributes(session.stage),
            "done": session.done,
            "orders": session.orders,
            "began": session.began,
            "unevaluated": session.unevaluated,
            "evaluated": session.evaluated,
            "line": asdict(session.line),
        }
        update = session.step.update
        if update is not None and update.scaler is not None:
            state["scaler"] = update.scaler.state_dict()
        if session.average is not None:
            state["average"] = session.average.state_dict()
        if session.best is not None:
            state["best"] = session.best
        if account := session.account.state_dict():
            state["account"] = account
        path = session.folder.best if best else session.folder.checkpoint
        checkpoint.save(path, {**state, "ledger": session.ledger.state_dict()}, previous=not best)


def find(folder: RunFolder, world: World) -> Found | None:
    """Return the newest undamaged checkpoint of a run; None if there is none.

    Raises
    ------
    RunError
        When it is another run's, both kept ones are damaged, or ranks read different ones.
    """
    found = checkpoint.newest(folder.checkpoint)
    seen = world.gather(None if found is None else found.digest)
    if len(set(seen)) > 1:
        other = next(rank for rank, digest in enumerate(seen) if digest != seen[0])
        raise RunError(
            f"all ranks must go on from one checkpoint; rank {other} reads another at {folder.checkpoint} "
            "than rank 0: run folders must be on a file system that all ranks share"
        )
    if found is not None:
        table = found.state.get("settings")
        unlike = folder.differences(table) if isinstance(table, dict) else f"it holds {type(table).__name__}"
        if unlike is not None:
            raise RunError(
                f"checkpoint {found.path} must be of this run; it is of one with other settings ({unlike}): "
                f"remove {found.path.parent} to start the run again"
            )
    return found


def restore(session: Session, found: Found) -> None:
    """Restore a session from a checkpoint.

    Raises
    ------
    RunError
        When it doesn't fit the session, or another number of ranks wrote it.
    """
    ranks = found.state.get("ranks", [])
    if len(ranks) != session.world.size:
        raise RunError(
            f"a run must go on with the {len(ranks)} ranks that it began with; got {session.world.size}: "
            f"start it with torchrun --nproc-per-node {len(ranks)}, or give another --name"
        )
    try:
        _restore(session, found.state, ranks[session.world.rank])
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # Parts raise different exceptions for a state of another shape; torch's has many lines.
        fault = " ".join(str(error).split())[:160]
        raise RunError(
            f"checkpoint {found.path} doesn't fit this run ({type(error).__name__}: {fault}); remove "
            f"{found.path.parent} to start the run again"
        ) from error


def resume(session: Session) -> bool:
    """Resume from the folder's newest checkpoint, if any; return whether there was one.

    Raises
    ------
    RunError
        As `find` and `restore` do.
    """
    found = find(session.folder, session.world)
    if found is not None:
        restore(session, found)
    return found is not None


def _restore(session: Session, state: dict[str, Any], own: dict[str, Any]) -> None:
    samples = SampleRecord.of_state(state["samples"])
    if any(len(getattr(samples, name)) != len(session.data.train) for name in SampleRecord.__slots__):
        raise ValueError(f"it is of a set of {len(samples.times_seen):,} samples")
    session.method.load_state_dict(state["method"])
    session.step.optimizer.load_state_dict(state["optimizer"])
    update = session.step.update
    if update is not None and update.scaler is not None:
        update.scaler.load_state_dict(state["scaler"])
    if session.average is not None:
        session.average.load_state_dict(state["average"])
    session.best = state.get("best")
    session.sampler.load_state_dict(state["sampler"])
    session.selector.load_state_dict(own["selection"])
    for feed in session.feeds:
        feed.load_state_dict(state["feeds"][feed.name])
    session.samples = samples
    session.order = None if state["order"] is None else Order(**state["order"])
    session.stage = Stage(**state["stage"])
    session.done, session.unevaluated = state["done"], state["unevaluated"]
    session.orders, session.began = state["orders"], state["began"]
    session.evaluated = state["evaluated"]
    session.line = Line(**state["line"])
    for name, buffer in session.method.named_buffers():
        buffer.copy_(own["buffers"][name])
    restore_random_state(own["random"], session.device)
    session.ledger.load_state_dict(state["ledger"])
    session.account.load_state_dict(state.get("account", {}))


def _attributes(value: Any) -> dict[str, Any]:
    return {item.name: getattr(value, item.name) for item in fields(value)}
