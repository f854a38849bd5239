"""Settings that may make a run faster, the most promising first, and their measured effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from pipeline.engines.resident import ResidentEngine
from pipeline.machine import cores
from tools.profiling.finding import Measured
from tools.profiling.intervals import LEAST, interval_text, paired
from tools.profiling.timing import COMPILING_SECONDS, turns
from tools.profiling.whole import Loop, session_at
from trainer import config
from trainer.data import Data
from trainer.errors import BudgetrainError
from trainer.hardware.device import use_bf16
from trainer.session import Session


@dataclass(frozen=True, slots=True)
class Change:
    """A run with one setting changed.

    Attributes
    ----------
    option
        What to type.
    run
        The changed run.
    learns
        Whether it changes what is learned, and not only how fast.
    takes
        The option of `trainer profile` without which there is no time to try it; None where there is.
    """

    option: str
    run: config.Run
    learns: bool = False
    takes: str | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """A change's effect.

    Attributes
    ----------
    base, changed
        Seconds per image of interleaved windows, without and with it.
    refused
        Why it could not be tried; None if it was.
    """

    change: Change
    base: Sequence[float] = ()
    changed: Sequence[float] = ()
    refused: str | None = None

    def table(self) -> Mapping[str, Any]:
        """Return the figures, as in the JSON file."""
        row: dict[str, Any] = {"option": self.change.option, "learns": self.change.learns}
        if self.refused is not None:
            return {**row, "refused": self.refused}
        ratio = paired(self.base, self.changed)
        return {
            **row,
            "base": list(self.base),
            "changed": list(self.changed),
            "speedup": ratio.speedup,
            "low": ratio.low,
            "high": ratio.high,
            "significant": ratio.significant,
            "unmeasured": ratio.unmeasured,
        }


def changes(measured: Measured, session: Session, seconds: float) -> list[Change]:
    """Return the changes that may help against a profile's bound, the most promising first.

    Parameters
    ----------
    seconds
        Of the whole profile.
    """
    known = _Known(session, beside=bool(measured.beside), seconds=seconds)
    groups = measured.groups
    shares = {name: measured.fraction(groups[name]) for name in groups if name != measured.longest}
    # What is next after the bound may be the bound once that is gone.
    others = [name for name in sorted(shares, key=lambda name: -shares[name]) if shares[name] > _NEXT]
    makers = [maker for name in (measured.bottleneck, *others) for maker in FIRST.get(name, ())]
    found: dict[str, Change] = {}
    for maker in dict.fromkeys([*makers, *GENERAL]):
        change = maker(known)
        if change is not None:
            found.setdefault(change.option, change)
    return list(found.values())


def left_out(candidates: Sequence[Change], tries: int) -> list[Mapping[str, Any]]:
    """Return the candidates that aren't tried, with the option that would have them tried."""
    fitting = [change for change in candidates if change.takes is None]
    return [
        {
            "option": change.option,
            "learns": change.learns,
            "by": change.takes or f"--tries {fitting.index(change) + 1}",
        }
        for change in candidates
        if change.takes is not None or fitting.index(change) >= tries
    ]


def tried(
    run: config.Run, data: Data, at: float, base: Session, change: Change, seconds: float, scratch: Path
) -> Tried:
    """Measure a change against the run, interleaved, for about ``seconds`` and what its warm-up takes."""
    threads = torch.get_num_threads()
    try:
        other = session_at(change.run, data, at, scratch)
    except BudgetrainError as error:
        return Tried(change, refused=str(error))
    try:
        before = Loop(base, threads)
        after = Loop(other, change.run.threads or threads)

        def turn(name: str, loop: Loop, images: int) -> Callable[[], dict[str, float]]:
            return lambda: {name: loop.window().seconds / images}

        works = [turn("base", before, run.batch_size), turn("changed", after, change.run.batch_size)]
        # What the first turn takes, the warm-up's, is left out.
        series = turns(works, seconds, LEAST)
        return Tried(change, series["base"], series["changed"])
    finally:
        other.close()
        torch.set_num_threads(threads)


@dataclass(frozen=True, slots=True)
class _Known:
    """Facts that candidates are derived from."""

    session: Session
    beside: bool
    seconds: float

    @property
    def run(self) -> config.Run:
        return self.session.run

    @property
    def on_cpu(self) -> bool:
        return self.session.device.type == "cpu"


def _has(part: object, name: str) -> bool:
    return name in {item.name for item in fields(part)}  # type: ignore[arg-type]


def _engine_threads(known: _Known) -> Change | None:
    engine = known.run.engine
    if not known.beside or not _has(engine, "threads"):
        return None
    now: int = getattr(engine, "threads", 0) or cores()
    threads = cores() if now < cores() else 2 * now
    run = replace(known.run, engine=replace(engine, threads=threads))  # type: ignore[type-var]
    return Change(f"--engine.threads {threads}", run)


def _resident(known: _Known) -> Change | None:
    if isinstance(known.run.engine, ResidentEngine):
        return None
    return Change("--engine resident", replace(known.run, engine=ResidentEngine()))


def _prefetch(known: _Known) -> Change | None:
    if not known.beside:
        return None
    prefetch = 4 * known.run.prefetch
    return Change(f"--prefetch {prefetch}", replace(known.run, prefetch=prefetch))


def _more_threads(known: _Known) -> Change | None:
    return _threads(known, cores()) if torch.get_num_threads() < cores() else None


def _fewer_threads(known: _Known) -> Change | None:
    now = torch.get_num_threads()
    return _threads(known, max(1, now // 2)) if now > 1 else None


def _threads(known: _Known, threads: int) -> Change | None:
    if not known.on_cpu:
        return None
    return Change(f"--threads {threads}", replace(known.run, threads=threads))


def _larger_batches(known: _Known) -> Change | None:
    size = 2 * known.run.batch_size
    if 4 * size > len(known.session.data.train):
        return None
    return Change(f"--batch-size {size}", replace(known.run, batch_size=size), learns=True)


def _bf16(known: _Known) -> Change | None:
    run = replace(known.run, precision="auto")
    if known.session.bf16 or not use_bf16(run, known.session.device):
        return None
    return Change("--precision bf16", replace(known.run, precision="bf16"), learns=True)


def _compiled(known: _Known) -> Change | None:
    run = known.run
    if run.compile or run.gradient_checkpointing:
        return None
    takes = f"--seconds {COMPILING_SECONDS:g}" if known.seconds < COMPILING_SECONDS else None
    return Change("--compile", replace(run, compile=True), takes=takes)


def _channels_last(known: _Known) -> Change | None:
    now = known.run.channels_last
    return Change(
        "--no-channels-last" if now else "--channels-last", replace(known.run, channels_last=not now)
    )


def _beside(known: _Known) -> Change | None:
    if known.run.service == "process" and known.run.lead > 0:
        return None
    run = replace(known.run, service="process", lead=max(20, known.run.lead))
    return Change(f"--service process --lead {run.lead}", run, learns=known.run.lead == 0)


def _longer_rounds(known: _Known) -> Change | None:
    if known.run.round_length == 1:
        return None
    return Change("--round-length 1", replace(known.run, round_length=1.0), learns=True)


def _rarer_logs(known: _Known) -> Change | None:
    every = 5 * known.run.log_every
    return Change(f"--log-every {every}", replace(known.run, log_every=every))


Maker = Callable[[_Known], Change | None]

FIRST: Mapping[str, Sequence[Maker]] = {
    "network": (_more_threads, _compiled, _bf16, _channels_last, _larger_batches),
    "memory": (_bf16, _compiled, _channels_last, _more_threads),
    "launches": (_larger_batches, _compiled, _fewer_threads),
    "reading": (_engine_threads, _resident, _prefetch, _more_threads),
    "decoding": (_engine_threads, _resident, _prefetch),
    "disk": (_resident, _engine_threads, _prefetch),
    "rereading": (_engine_threads, _resident),
    "draws": (_prefetch, _larger_batches),
    "copies": (_resident, _prefetch),
    "augmentation": (_more_threads, _larger_batches, _fewer_threads),
    "selection": (_more_threads, _compiled, _bf16),
    "sampler": (_beside, _longer_rounds),
    "feedback": (_rarer_logs, _larger_batches),
}
"""By the bound, what may help against it, the most promising first."""

_NEXT = 0.1
"""Fraction of a step from which on a group that isn't the bound has its changes tried after the bound's."""

GENERAL: Sequence[Maker] = (_larger_batches, _compiled, _bf16, _channels_last, _fewer_threads)
"""Changes that may help anyway."""


def best(rows: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the tried changes that are significantly faster, first those that leave what is learned alone."""
    faster = [row for row in rows if row.get("significant") and row["speedup"] > 1]
    yield from sorted(faster, key=lambda row: (row["learns"], -row["speedup"]))


def told(row: Mapping[str, Any]) -> str:
    """Return a tried change's effect in a line for the terminal."""
    if "refused" in row:
        return f"tried {row['option']}: not possible, {row['refused']}"
    spread = f" (95% interval {interval_text(row['low'], row['high'], row.get('unmeasured'))})"
    learns = "; changes what is learned" if row["learns"] else ""
    return f"tried {row['option']}: {row['speedup']:.2f} times as fast{spread}{learns}"
