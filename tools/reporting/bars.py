"""Bars and dots in plain HTML, beside the tables of their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.reporting.figures import SERIES
from tools.reporting.lineup import Lineup
from tools.reporting.markup import Child, Safe, el, join, table
from tools.reporting.record import RunRecord
from tools.reporting.wording import NONE, duration, percent

OFF_THE_CLOCK = ("evaluate", "checkpoint", "compile")
"""Phases outside of the training clock."""

OVERLAP_NOTE = "Phases overlap on this device, so they add up to more than the training clock."

MEANINGS: Mapping[str, str] = {
    "wait": "waiting for the next batch: the stall",
    "copy": "images to the device",
    "augment": "augmentation and normalization",
    "score": "forward passes that only score",
    "forward": "forward pass and losses",
    "backward": "backward pass",
    "optimize": "optimizer step",
    "feedback": "losses back to the sampler",
    "sampler": "choosing the next samples",
    "other": "what lies between the phases",
    "evaluate": "metrics on the test set",
    "checkpoint": "writing checkpoints",
    "compile": "warm-up and compilation",
}


def phase_seconds(run: RunRecord) -> dict[str, float]:
    """Return seconds per phase, those on the training clock first; time outside of phases is "other"."""
    phases = run.phases
    on = {name: seconds for name, seconds in phases.items() if name not in OFF_THE_CLOCK}
    clock = run.number("train_seconds")
    if on and clock is not None and clock > sum(on.values()):
        on["other"] = clock - sum(on.values())
    off = {name: phases[name] for name in OFF_THE_CLOCK if name in phases}
    compilation = run.number("compile_seconds")
    if phases and compilation is not None:
        off["compile"] = compilation
    return on | off


@dataclass(frozen=True, slots=True)
class LedgerFigure:
    """Return stacked bars, one per run, the table that is their legend, and a note if due."""

    bars: Safe
    table: Safe
    note: Safe | None


def ledger(lineup: Lineup) -> LedgerFigure | None:
    """Return the chart of each run's time by phase, on one scale; None if no run has phases."""
    rows = [(entry.run, entry.label, phase_seconds(entry.run)) for entry in lineup]
    rows = [row for row in rows if row[2]]
    if not rows:
        return None
    longest = max(sum(phases.values()) for _, _, phases in rows) or 1.0
    taken = {name for _, _, phases in rows for name, seconds in phases.items() if seconds > 0}
    names = [name for name in MEANINGS if name in taken] + sorted(taken - set(MEANINGS))
    bars = []
    for _, label, phases in rows:
        spoken = ", ".join(f"{name} {duration(seconds)}" for name, seconds in phases.items())
        heading = el("p", label, class_="bar-label") if len(rows) > 1 else None
        bars.append(join(heading, _stack(phases, longest, f"{label}: {spoken}")))
    head = ["Phase", *(label for _, label, _ in rows)] if len(rows) > 1 else ["Phase", "Seconds"]
    body: list[list[Safe | str]] = []
    for name in names:
        key = join(
            el("span", "", class_=f"key phase-{_class(name)}"),
            name,
            " ",
            el("span", MEANINGS.get(name, ""), class_="gloss"),
        )
        body.append([key, *(_fraction(phases.get(name), run) for run, _, phases in rows)])
    total = [_fraction(run.number("train_seconds"), run) for run, _, _ in rows]
    first_off = next((i for i, name in enumerate(names) if name in OFF_THE_CLOCK), len(names))
    body.insert(first_off, [el("strong", "training clock"), *total])
    caption = "Seconds per phase, and fraction of the training clock"
    over = any(_on_the_clock(phases) > 1.01 * (run.number("train_seconds") or 0.0) for run, _, phases in rows)
    note = el("p", OVERLAP_NOTE, class_="note") if over else None
    return LedgerFigure(join(bars), table(head, body, caption, class_="ledger"), note)


def _on_the_clock(phases: Mapping[str, float]) -> float:
    return sum(seconds for name, seconds in phases.items() if name not in OFF_THE_CLOCK)


def _stack(phases: Mapping[str, float], longest: float, spoken: str) -> Safe:
    segments = []
    left = 0.0
    for name, seconds in phases.items():
        width = 100 * seconds / longest
        if width > 0:
            hover = el("title", f"{name}: {duration(seconds)}")
            segments.append(
                el(
                    "rect",
                    hover,
                    x=f"{left:.3f}%",
                    y="0",
                    width=f"{width:.3f}%",
                    height="100%",
                    class_=f"phase-{_class(name)}",
                )
            )
        left += width
    return el("svg", segments, class_="stack", role="img", aria_label=spoken)


def _fraction(seconds: float | None, run: RunRecord) -> Safe | str:
    clock = run.number("train_seconds")
    if seconds is None:
        return NONE
    fraction = percent(seconds / clock) if clock else NONE
    return join(f"{seconds:,.1f}", el("span", fraction, class_="share"))


def _class(name: str) -> str:
    return name if name in MEANINGS else "other"


def dots(values: Sequence[tuple[int, float]], spoken: str) -> Safe:
    """Return values in [0, 1], (color, value) each, as dots on one line from 0 to 1."""
    marks = [
        el("circle", cx=f"{100 * value:.2f}%", cy="50%", r="4.5", class_=f"run-{color % SERIES}")
        for color, value in values
    ]
    rail = el("line", x1="0", x2="100%", y1="50%", y2="50%")
    return el("svg", rail, marks, class_="dots", role="img", aria_label=spoken)


def intervals(values: Sequence[tuple[int, float, float, float]], mark: float, spoken: str) -> Safe:
    """Return values with a spread, (color, low, value, high) in [0, 1] each, on one line from 0 to 1.

    Parameters
    ----------
    mark
        Position of a vertical mark on the line.
    """
    drawn: list[Child] = [
        el("line", x1="0", x2="100%", y1="50%", y2="50%"),
        el("line", x1=_at(mark), x2=_at(mark), y1="10%", y2="90%", class_="mark"),
    ]
    for color, low, value, high in values:
        name = f"run-{color % SERIES}"
        drawn.append(el("line", x1=_at(low), x2=_at(high), y1="50%", y2="50%", class_=name))
        drawn.append(el("circle", cx=_at(value), cy="50%", r="4", class_=name))
    return el("svg", drawn, class_="dots", role="img", aria_label=spoken)


def _at(fraction: float) -> str:
    return f"{100 * fraction:.2f}%"
