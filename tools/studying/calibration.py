"""Calibration: seconds and memory of a run, from a few of its steps."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import one_line
from tools.profiling.timing import wait_for
from tools.profiling.whole import session_at, training_steps
from tools.studying.cells import Cell
from tools.studying.room import Slot
from trainer import recipe
from trainer.data import open_data
from trainer.errors import BudgetrainError, RunError
from trainer.parallel import World
from trainer.session import Session
from trainer.watch import Silent

PROGRESS = 0.5
"""Fraction of the budget at which steps are timed: selections and samplers are past their warm-up."""

LEAST = 5
SECONDS = 2.0
"""Steps that are not timed, and the least of those that are; seconds in which they are."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Seconds of a whole run, and its peak memory in bytes."""

    seconds: float
    peak: int


def command(words: list[str], slot: Slot) -> list[str]:
    """Return the command line of a process of the study: see `tools.studying.child`."""
    cores = ",".join(map(str, slot.cores))
    return [sys.executable, "-m", "tools.studying.child", str(os.getpid()), cores, *words]


def environment(slot: Slot) -> dict[str, str]:
    """Return the environment variables of a process in a slot."""
    return {**os.environ, **({} if slot.gpu is None else {"CUDA_VISIBLE_DEVICES": slot.gpu})}


def calibrate(cell: Cell, slot: Slot) -> Calibration:
    """Measure a cell in a process of its own, on its share of the cores.

    Raises
    ------
    RunError
        If its run could not start; the line is the run's own.
    """
    cell.write_recipe()
    done = subprocess.run(
        command(["measure", str(cell.recipe)], slot),
        env=environment(slot),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise RunError(f"cell {cell.name} can't be measured: {last[0]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Calibration(found["seconds"], found["peak"])


def measure(path: str) -> int:
    """Print the calibration of a recipe's run as a line of JSON; the status is 2 where it can't start."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            seconds = _seconds(path)
    except BudgetrainError as error:
        print(one_line(str(error)), file=sys.stderr)
        return 2
    print(json.dumps({"seconds": seconds, "peak": _peak()}))
    return 0


def _seconds(path: str) -> float:
    run = recipe.load(path)
    started = time.perf_counter()
    data = open_data(run, World(), Silent().converting)
    with tempfile.TemporaryDirectory(prefix="trainer-study-") as scratch:
        session = session_at(run, data, PROGRESS, Path(scratch) / "run")
        try:
            starting = time.perf_counter() - started
            rate = _rate(session)
            before = time.perf_counter()
            session.evaluate()
            evaluation = time.perf_counter() - before
            rounds = session.run_rounds * run.epochs / session.run.epochs
        finally:
            session.close()
    seconds = run.budget * run.epochs * len(data.train) / rate
    if run.budget_hours is not None:
        rounds *= 3600 * run.budget_hours / seconds
        seconds = 3600 * run.budget_hours
    evaluations = 0 if run.budget_clock == "wall" else math.ceil(rounds / run.evaluate_every)
    return starting + seconds + evaluations * evaluation


def _rate(session: Session) -> float:
    """Return the budget spent per second, scoring included; the first steps are not timed."""
    with closing(training_steps(session)) as steps:
        for _ in range(LEAST):
            next(steps)
        session.collect()
        wait_for(session.device)
        spent, before, taken, made = session.account.spent, time.perf_counter(), 0.0, 0
        while taken < SECONDS or made < LEAST:
            next(steps)
            made += 1
            taken = time.perf_counter() - before
        session.collect()
        wait_for(session.device)
        return (session.account.spent - spent) / (time.perf_counter() - before)


def _peak() -> int:
    """Return the most memory that this process has had in use, in bytes; 0 where that isn't known."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
