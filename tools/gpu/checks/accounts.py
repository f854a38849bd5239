"""The account's phases against the clock, on an asynchronous device."""

from __future__ import annotations

from tools.gpu.outcome import Outcome, Row, Setting
from tools.gpu.sessions import small_noise, training

MOST = 1.05
"""Phases may cover less than the clock's time, but not more."""


def check(setting: Setting) -> Outcome:
    """Train with the usual logging interval, and compare."""
    outcome, rows = Outcome(), []
    data = small_noise(setting, 8192)
    for batch_size in setting.clock.cases((8,) if setting.smoke else (128, 512)):
        entries = {"batch_size": batch_size, "log_every": 2 if setting.smoke else 20}
        with training(setting, data, f"run-{batch_size}", **entries) as made:
            window = made.window(4 if setting.smoke else 100)
        accounted = sum(window.phases.values()) / window.clock
        if accounted > MOST:
            said = f"phases add up to {accounted:.0%} of the clock at batches of {batch_size}"
            outcome.problems.append(f"{said}: some work is counted twice")
        for phase, milliseconds in window.phases.items():
            rows.append(_row(f"{phase}, {batch_size}", milliseconds, window.clock))
        rows.append(_row(f"all phases, {batch_size}", sum(window.phases.values()), window.clock))
    outcome.tables["Milliseconds per step, by phase and batch size"] = rows
    return outcome


def _row(name: str, milliseconds: float, step: float) -> Row:
    return {"phase, batch size": name, "ms": milliseconds, "fraction of the clock": milliseconds / step}
