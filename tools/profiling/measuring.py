"""All measurements of a run's profile, and their figures as in profile.json."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from pipeline.engines.protocol import holds_images
from pipeline.machine import cores
from pipeline.recording import SCHEMA
from tools.profiling import disk, reference
from tools.profiling.components import PART, Stages
from tools.profiling.finding import Measured
from tools.profiling.loops import SLOWEST, slowest_of, some
from tools.profiling.memory import Memory, memory_of
from tools.profiling.sentences import sentence
from tools.profiling.timing import turns
from tools.profiling.whole import Loop
from tools.profiling.work import Work, work_of
from trainer.config import Run
from trainer.environment import environment
from trainer.recipe import to_table
from trainer.session import Session
from trainer.settings import comparison
from trainer.slots import SLOTS

MOST_WINDOWS = 200
"""Windows whose times are kept per component, for comparisons of two profiles."""


@dataclass(slots=True)
class Profiled:
    """All measurements of a profile.

    Attributes
    ----------
    measured
        Medians, and the bottleneck that they come to.
    windows
        Seconds per step of every window, by component; "loop" is the whole loop.
    cached
        Seconds per step on batches in memory.
    tried, untried
        Rows of the changes that were tried, and of those that weren't.
    trace
        File, bytes and steps of a trace; None without one.
    """

    session: Session
    at: float
    measured: Measured
    windows: Mapping[str, list[float]]
    cached: float
    loop: Loop
    work: Work
    memory: Memory
    loader: Mapping[str, Any]
    tried: list[Mapping[str, Any]] = field(default_factory=list)
    untried: list[Mapping[str, Any]] = field(default_factory=list)
    trace: Mapping[str, Any] | None = None

    def table(self, run: Run) -> dict[str, Any]:
        """Return the figures, as in profile.json; times in milliseconds per step where they say so.

        Parameters
        ----------
        run
            As it was given: the session's own has as many epochs as a profile may take.
        """
        measured, session = self.measured, self.session

        def row(name: str, seconds: float) -> dict[str, Any]:
            return {
                "stage": name,
                "milliseconds": 1e3 * seconds,
                "images_per_second": measured.run.batch_size / seconds if seconds > 0 else None,
                "share": measured.fraction(seconds),
                "beside": name in measured.beside,
            }

        return {
            "schema": SCHEMA,
            "kind": "run",
            "setting": setting(session, self.at),
            "settings": comparison.flat(to_table(run)),
            "environment": environment(session.device),
            "batch_size": measured.run.batch_size,
            "bottleneck": measured.bottleneck,
            "gain": measured.gain,
            "sentence": sentence(measured, self.tried),
            "disturbed": measured.disturbed,
            "reserve": measured.reserve,
            "groups": {name: 1e3 * seconds for name, seconds in measured.groups.items()},
            "tried": self.tried,
            "untried": self.untried,
            "trace": self.trace,
            "stages": [row(name, seconds) for name, seconds in measured.stages.items()],
            "augmentations": [row(name, seconds) for name, seconds in measured.parts.items()],
            "gap": row("gap", measured.gap),
            "together": row("together", measured.step),
            "phases_of_step": {name: 1e3 * seconds for name, seconds in self.loop.usual.items()},
            "cached": row("cached", self.cached),
            "loading": None if measured.loading is None else row("loading", measured.loading),
            "stall": measured.fraction(measured.wait),
            "windows": {name: taken[:MOST_WINDOWS] for name, taken in self.windows.items()},
            "work": self.work.table(),
            "memory": self.memory.table(),
            "loader": self.loader,
            "steps": self.loop.step_seconds,
            "slowest": slowest(self.loop),
            "timeline": timeline(self.loop),
            "overhead": self.loop.overhead,
        }


def measure(session: Session, at: float, seconds: float) -> Profiled:
    """Time a session's components and its loop, interleaved, and what a step asks of the device.

    Parameters
    ----------
    at
        Point of the run, as a fraction of the budget.
    seconds
        For all of it but what the measurements' set-up takes.
    """
    run, stages, loop = session.run, Stages(session), Loop(session)
    ahead = run.prefetch if stages.loading.asynchronous else 0
    try:
        windows = turns([*stages.works(), loop], 0.85 * seconds)
        work = work_of(session, stages.train, stages.cached, stages.steps)
        memory = memory_of(session, stages.raw, stages.train, run.batch_size, ahead, stages.cached)
        loader = _loader(session, stages, 0.15 * seconds)
        beside, decodes = stages.beside, stages.loading.decodes
    finally:
        stages.close()
    medians = {name: statistics.median(taken) for name, taken in windows.items()}
    step, cached, loading = (medians.pop(name) for name in ("loop", "cached", "loading"))
    # As the clock has them in one window: with the other phases they come to the whole step.
    wait, medians["rest"] = (loop.usual[name] for name in ("wait", "rest"))
    del medians["wait"], medians[reference.NAME]
    parts = {name.removeprefix(PART): medians.pop(name) for name in list(medians) if name.startswith(PART)}
    network = sum(medians[name] for name in ("forward", "backward", "optimizer"))
    measured = Measured(
        run,
        medians,
        parts,
        step,
        wait,
        beside,
        decodes,
        launching=work.launching if session.device.type == "cpu" else 0.0,
        host_bound=loop.host_bound,
        memory_bound=work.memory_bound(network),
        loading=loading,
        overlaps=session.device.type != "cpu",
        machine=stages.reference.slowdown(windows[reference.NAME]),
    )
    return Profiled(session, at, measured, windows, cached, loop, work, memory, loader)


def setting(session: Session, at: float) -> str:
    """Return what was profiled, in words."""
    run, device = session.run, session.device
    number = torch.get_num_threads()
    threads = f", {number} thread{'s' if number > 1 else ''}" if device.type == "cpu" else ""
    return (
        f"{SLOTS['model'].named(run)} on {session.data.train.card.name}: batches of {run.batch_size} at "
        f"{session.pixels} pixels, engine {SLOTS['engine'].named(run)}, selection "
        f"{SLOTS['selection'].named(run)}, {device} {session.precision}{threads}; "
        f"at {at:.0%} of the budget"
    )


def _loader(session: Session, stages: Stages, seconds: float) -> dict[str, Any]:
    """Return the loader's rates by threads, what it reads, and how fast the disk gives it when it is cold."""
    images, engine = session.loader.batch_size, SLOTS["engine"].named(session.run)
    rows, unvaried = [], None
    if not stages.loading.asynchronous:
        unvaried = (
            f"Its rate isn't measured against threads: the engine {engine} holds the set in memory, and the "
            "training takes batches from there itself."
            if holds_images(session.run.engine)
            else f"Its rate isn't measured against threads: {engine} reads images as small as these so fast "
            "that a thread wouldn't pay, and the training does it itself."
        )
    elif not hasattr(session.run.engine, "threads"):
        unvaried = f"Its rate isn't measured against threads: the engine {engine} has no such option."
    else:
        counts = sorted({1, 2, cores(), 2 * cores()})
        end = time.perf_counter() + seconds
        for number in counts:
            rates = [images / taken for taken in stages.loading_with(number)]
            rows.append({"threads": number, "images_per_second": statistics.median(rates)})
            if len(rows) > 1 and time.perf_counter() > end:
                break
    train = session.data.train
    return {
        "engine": engine,
        "ahead": session.run.prefetch if stages.loading.asynchronous else 0,
        "threads": rows,
        "unvaried": unvaried,
        "bytes_per_image": float(train.sizes.mean()),
        "cold": disk.cold(train),
    }


def slowest(loop: Loop) -> list[dict[str, Any]]:
    """Return the slowest of the recorded steps, with their seconds by phase."""
    found = []
    for window in loop.recorded:
        assert window.recorder is not None
        found += slowest_of(window.steps, window.recorder.rows(window.began))
    return sorted(found, key=lambda row: -row["seconds"])[:SLOWEST]


def timeline(loop: Loop) -> list[list[Any]]:
    """Return the spans of some steps: lane, name, begin and end in seconds, number."""
    window = loop.recorded[-1]
    assert window.recorder is not None
    return some(window.recorder.rows(window.began))


def rows(measured: Measured) -> Iterator[tuple[str, float, bool]]:
    """Yield the table's rows: name, seconds per step, and whether it is a part of the row above."""
    for name, seconds in measured.stages.items():
        yield name, seconds, False
        if name == "augmentation" and len(measured.parts) > 1:
            for part, taken in measured.parts.items():
                yield part, taken, True
