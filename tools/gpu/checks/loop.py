"""The training loop: its rate, how far the host runs ahead of the device, and its bottleneck."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from tools.gpu.outcome import MACHINE_ERRORS, Cell, Outcome, Row, Setting, first_line
from tools.gpu.sessions import Training, Window, small_noise, training
from tools.gpu.timing import Launches, launches
from tools.profiling.timing import wait_for

LOG_EVERY = 20

DEVICE_BOUND = 0.9
"""Busy fraction of a step above which the device's kernels are the bottleneck."""

HOST_BOUND = 0.95
"""Host fraction of a step above which the device waits for the host."""

DATA_BOUND = 0.3
"""Fraction of the host's time spent waiting for batches above which data is the bottleneck."""

MODERN = [{"name": "randaugment", "space": "modern"}, "standard"]


@dataclass(frozen=True, slots=True)
class Case:
    """Settings of a run that affect its speed."""

    name: str
    batch_size: int = 128
    entries: dict[str, Any] = field(default_factory=dict)
    steps: int = 100

    def __str__(self) -> str:
        return self.name


CASES = (
    Case("resnet18, 128, standard"),
    Case("resnet18, 128, standard + ricap", entries={"augment": ["standard", "ricap"]}),
    Case("resnet18, 1024, standard", 1024, steps=30),
    Case("resnet18, 1024, randaugment + standard", 1024, {"augment": MODERN}, steps=30),
    Case("resnet8, 128, standard", entries={"model": "resnet8"}),
    Case("resnet18, 128, standard, foms", entries={"selection": {"name": "foms", "start": 0.0, "end": 1.0}}),
    Case("resnet18, 128, standard, compiled", entries={"compile": True}),
    Case("resnet18, 128, standard, ffcv", entries={"engine": "ffcv"}),
)


def check(setting: Setting) -> Outcome:
    """Time steps without and with logging, count their kernels, and determine each case's bottleneck."""
    outcome, device = Outcome(), torch.device(setting.device)
    rows: list[Row] = []
    phases: list[Row] = []
    data = small_noise(setting, 16384)
    for case in setting.clock.cases(CASES[:1] if setting.smoke else CASES):
        if case.entries.get("engine") == "ffcv" and importlib.util.find_spec("ffcv") is None:
            outcome.notes.append(f"{case}: FFCV is not installed")
            continue
        entries = {"batch_size": case.batch_size, **case.entries}
        try:
            with training(setting, data, f"run-{len(rows)}", **entries) as made:
                rows.append(_row(made, case, 3 if setting.smoke else case.steps, phases))
        except MACHINE_ERRORS as error:
            wait_for(device)  # Raises if the device itself has failed; else the other cases are valid.
            outcome.problems.append(f"{case}: {first_line(error)}")
    outcome.tables["Steps, and what bounds them"] = rows
    outcome.tables["Milliseconds per step, by phase"] = phases
    return outcome


def _row(made: Training, case: Case, steps: int, phases: list[Row]) -> Row:
    window = made.window(steps)
    batch_size = made.session.run.batch_size
    logged = _logged(made, 1 if steps < LOG_EVERY else steps // LOG_EVERY)
    launched = launches(made.step, made.session.device)
    by_phase: dict[str, Cell] = {"case": case.name, **window.phases}
    phases.append(by_phase)
    return {
        "case": case.name,
        "images/s": 1e3 * batch_size / window.whole,
        "ms": window.whole,
        "host ms": window.host,
        "with the log, ms": logged,
        "busy ms": None if launched is None else launched.busy,
        "kernels": None if launched is None else launched.kernels,
        "copies": None if launched is None else launched.copies,
        "bound by": bound(window, launched),
    }


def _logged(made: Training, intervals: int) -> float:
    """Return the milliseconds per step with synchronization at the logging interval."""

    def interval() -> None:
        for _ in range(LOG_EVERY):
            made.step()
        made.settle()

    interval()
    begin = time.perf_counter()
    for _ in range(intervals):
        interval()
    return 1e3 * (time.perf_counter() - begin) / (intervals * LOG_EVERY)


def bound(window: Window, launched: Launches | None) -> str:
    """Return the bottleneck of a step.

    Parameters
    ----------
    window
        Steps without logging, so that the host may run ahead.
    launched
        The kernels that a step launches; None without a CUDA device.
    """
    waiting = window.phases.get("wait", 0.0)
    if launched is None:
        return "data" if waiting > DATA_BOUND * window.whole else "the processor"
    if launched.busy >= DEVICE_BOUND * window.whole:
        return "the device"
    if window.host < HOST_BOUND * window.whole:
        return f"the device, {launched.busy / window.whole:.0%} busy"
    if waiting > DATA_BOUND * window.host:
        return "data"
    return f"launches: the device is {launched.busy / window.whole:.0%} busy"
