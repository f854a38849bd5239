"""Sections of a profile's page: stages, phases, roofline, and how step times spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tools.profiling import charts
from tools.profiling.charts import milliseconds, quantity
from tools.reporting import figures
from tools.reporting.bars import MEANINGS
from tools.reporting.curves import figure
from tools.reporting.document import section
from tools.reporting.figures import Line
from tools.reporting.markup import Child, Safe, el, table
from tools.reporting.wording import MINUS, NONE, SPACE, TIMES, count, percent, plain

Row = Mapping[str, Any]

ABOUT = {
    "order": "the sampler's next ids",
    "reading": "images of a batch, from memory",
    "draws": "the augmentation's random numbers",
    "copy": "to the device",
    "augmentation": "on the device, normalization included",
    "reading again": "chosen samples at full size",
    "augmenting again": "of chosen samples",
    "mixing": "of chosen samples",
    "scoring": "forward passes over candidates",
    "selecting": "choosing among candidates",
    "forward": "forward pass and losses",
    "backward": "backward pass",
    "optimizer": "update of the weights",
    "feedback": "losses to the sampler and the log",
    "rest": "between all phases of the loop",
    "waiting for data": "in the loop, for what works beside it",
    "gap": "what closes the sum of the above, but those beside the training",
}
"""Meanings of the stages."""


def stages(profile: Row) -> Safe | None:
    """Return each stage's time alone against the step's."""
    if "stages" not in profile:
        return None
    together = profile["together"]["milliseconds"]
    rows = [(row, False) for row in profile["stages"]]
    at = next((index for index, (row, _) in enumerate(rows) if row["stage"] == "augmentation"), None)
    if at is not None and len(profile["augmentations"]) > 1:
        rows[at + 1 : at + 1] = [(row, True) for row in profile["augmentations"]]
    longest = max([together, *(row["milliseconds"] for row, _ in rows)])
    body: list[list[Child]] = []
    for row, part in rows:
        taken = row["milliseconds"]
        spoken = f"{row['stage']}: {plain(taken)} ms of a step of {plain(together)} ms"
        name = [
            f"{SPACE * 4}{row['stage']}" if part else row["stage"],
            " ",
            el("span", "beside the training", class_="tag") if row["beside"] else None,
        ]
        body.append(
            [
                [*name, " ", el("span", ABOUT.get(row["stage"], ""), class_="gloss")],
                charts.bar(
                    taken / longest,
                    "beside-bar" if row["beside"] else "part-bar" if part else "own-bar",
                    spoken,
                    together / longest,
                ),
                f"{taken:,.3f}",
                NONE
                if row["images_per_second"] is None or row["stage"] == "rest"
                else count(row["images_per_second"]),
                NONE
                if taken <= 0
                else f"{together / taken:,.1f}{TIMES}"
                if together < 1e3 * taken
                else f"> 1,000{TIMES}",
            ]
        )
    if "gap" in profile:
        waiting = profile["stall"] * together if any(row["beside"] for row in profile["stages"]) else 0.0
        rows = [("waiting for data", waiting)] * (waiting > 0) + [("gap", profile["gap"]["milliseconds"])]
        for name, taken in rows:
            label = "together less alone" if name == "gap" else name
            about = el("span", ABOUT[name], class_="gloss")
            body.append([[label, " ", about], "", f"{taken:,.3f}".replace("-", MINUS), NONE, NONE])
    cached = profile["cached"]
    said = (
        "Each stage was timed alone, on batches in memory; the line is a whole step of the loop. A stage "
        "that could feed the step several times over isn't its bound. On batches in memory, without "
        f"loading, a step takes {plain(cached['milliseconds'])}{SPACE}ms instead of "
        f"{plain(together)}{SPACE}ms."
    )
    return section(
        "Each stage alone, against the step",
        el("p", said),
        table(
            ["Stage", "Time per step", "ms", "images/s", "of what the step takes"],
            body,
            "Seconds per step by stage",
            class_="classes stages",
        ),
    )


def roofline(profile: Row) -> Safe | None:
    """Return how near the network comes to the device's peaks, and its launches."""
    work = profile.get("work")
    if not work:
        return None
    network = (
        sum(
            row["milliseconds"]
            for row in profile["stages"]
            if row["stage"] in ("forward", "backward", "optimizer")
        )
        / 1e3
    )
    step = profile["together"]["milliseconds"] / 1e3
    rate = work["flops"] / network
    facts = [
        f"The network's {quantity(work['flops'], 'FLOP')} per step, in {milliseconds(network)}, are "
        f"{quantity(rate, 'FLOP/s')}: {percent(rate / work['peak_flops'])} of the "
        f"{quantity(work['peak_flops'], 'FLOP/s')} that a product of large matrices reaches on this device; "
        "over whole steps "
        f"{percent(work['flops'] / step / work['peak_flops'])}.",
    ]
    drawing = None
    if work["bytes"]:
        moved = work["bytes"] / network
        facts.append(
            f"Its operations read and write {quantity(work['bytes'], 'B')} per step at most, "
            f"{quantity(moved, 'B/s')}: {percent(moved / work['peak_bytes'], 0)} of the "
            f"{quantity(work['peak_bytes'], 'B/s')} of a large copy. Above 100%, part of it stays in caches."
        )
        spoken = f"Roofline: {facts[0]} {facts[1]}"
        drawing = charts.roofline(
            work["flops"] / work["bytes"], rate, work["peak_flops"], work["peak_bytes"], spoken
        )
        facts.append(
            f"It launches {work['operations']:,} operations per step, {work['copies']:,} of which copy, and "
            f"augmentation and selection {work['beside']:,} more. A tiny one takes "
            f"{1e6 * work['launch']:.2g}{SPACE}µs here, so launching the network's alone takes about "
            f"{milliseconds(work['operations'] * work['launch'])}."
        )
    return section(
        "Arithmetic, memory and launches",
        el(
            "div",
            figure(drawing, "Roofline: the point is this run") if drawing else None,
            el("ul", [el("li", fact) for fact in facts], class_="notes"),
            class_="pair",
        ),
    )


def steps(profile: Row) -> Safe | None:
    """Return the spread of step times, and what the slowest did."""
    taken = 1e3 * np.array(profile["steps"], dtype=np.float64)
    if len(taken) < 2:
        return None
    middle, high, most = np.quantile(taken, [0.5, 0.95, 1.0])
    said = (
        f"Half of {len(taken):,} steps took up to {plain(middle)}{SPACE}ms, 95% up to "
        f"{plain(high)}{SPACE}ms, the slowest {plain(most)}{SPACE}ms."
    )
    drawing = figures.lines(
        "steps",
        [Line(np.arange(1.0, len(taken) + 1), taken, 0)],
        title="Milliseconds per step",
        description=f"Line plot: {said}",
        x_label="step",
        y_label="ms",
        from_zero=True,
    )
    slow = _slowest(profile.get("slowest", []), float(middle))
    return section(
        "How step times spread",
        el("p", said),
        el("div", figure(drawing, "Time of each step"), slow, class_="pair"),
    )


def phases(profile: Row) -> Safe | None:
    """Return the phases of a step by the loop's own clock, which add up to it."""
    found = profile.get("phases_of_step")
    if not found:
        return None
    whole = sum(found.values())
    rows = [
        [charts.key(name, MEANINGS.get(name, ABOUT.get(name, ""))), f"{taken:,.3f}", percent(taken / whole)]
        for name, taken in found.items()
        if taken > 0
    ]
    return section(
        "Where the step's time went",
        el("p", "By the clock of the loop, in its median window: these add up to the step."),
        table(
            ["Phase", "ms per step", "of the step"],
            [*rows, ["together", f"{whole:,.3f}", percent(1.0)]],
            "Milliseconds per step by phase",
            class_="ledger",
        ),
    )


def spent(profile: Row) -> Safe | None:
    """Return what phases and the loader of some steps took; None for profiles that timed stages alone."""
    loading, host = profile.get("loading_seconds", {}), profile.get("phases", {})
    if "stages" in profile or not (loading or host):
        return None
    if host:
        host = {**host, "rest": max(0.0, profile["seconds"] - sum(host.values()))}
    batches = profile["batches"]
    rows = [
        [
            charts.key(name, meaning),
            lane,
            f"{1e3 * seconds / batches:,.3f}",
            percent(seconds / profile["seconds"]),
        ]
        for lane, meanings, table_ in (("host", MEANINGS, host), ("loader", charts.STAGES, loading))
        for name, seconds in table_.items()
        if seconds
        for meaning in [meanings.get(name, ABOUT.get(name, ""))]
    ]
    return section(
        "Time of these steps",
        el("p", "The loader may work beside the loop, in a thread of its own."),
        table(
            ["Part", "Lane", "ms per step", "of the time"],
            rows,
            "Seconds by phase and stage",
            class_="ledger",
        ),
    )


def _slowest(rows: Sequence[Row], middle: float) -> Safe | None:
    if not rows:
        return None
    body: list[list[Child]] = []
    for row in rows:
        phases = sorted(row["phases"].items(), key=lambda item: -item[1])[:3]
        did = ", ".join(f"{name} {milliseconds(seconds)}" for name, seconds in phases)
        body.append([milliseconds(row["seconds"]), f"{1e3 * row['seconds'] / middle:.1f}{TIMES}", did])
    return table(
        ["Step", "of the median", "Its longest phases"],
        body,
        "The slowest steps that were recorded",
        class_="words",
    )
