"""Two profiles side by side: what got faster, by how much, and whether that is more than their spread."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from pipeline.formats.whole import write_whole
from tools.arguments import parse
from tools.outputs import check_output
from tools.profiling.files import read_profile
from tools.profiling.page import sorting
from tools.reporting.document import document, section
from tools.reporting.markup import Safe, el
from tools.reporting.wording import NONE, percent
from tools.studying.sheets import NOTHING, Figure, Sheet, page_table, terminal, words
from tools.studying.statistics import ALPHA, t_quantile
from trainer.errors import RunError

PAGE = "comparison.html"

MACHINE = ("cpu", "gpu", "device", "cores", "torch")
"""Entries of the environment without which times don't compare."""

LOOP = "loop"
"""The whole step, among the components."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times faster the second of two series is, with its interval at 1 - `ALPHA`.

    None for the bounds where a series has fewer than two values.
    """

    speedup: float
    low: float | None
    high: float | None

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 1."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high


def ratio(one: Sequence[float], other: Sequence[float]) -> Ratio:
    """Compare two independent series of seconds, by Welch's interval on their logarithms."""
    logs = [[math.log(value) for value in series if value > 0] for series in (one, other)]
    speedup = math.exp(statistics.median(logs[0]) - statistics.median(logs[1]))
    if min(map(len, logs)) < 2:
        return Ratio(speedup, None, None)
    errors = [statistics.variance(series) / len(series) for series in logs]
    freedoms = [error**2 / (len(series) - 1) for error, series in zip(errors, logs, strict=True)]
    if not sum(freedoms):
        return Ratio(speedup, speedup, speedup)
    half = t_quantile(1 - ALPHA / 2, max(1, int(sum(errors) ** 2 / sum(freedoms)))) * math.sqrt(sum(errors))
    mean = statistics.fmean(logs[0]) - statistics.fmean(logs[1])
    return Ratio(speedup, math.exp(mean - half), math.exp(mean + half))


@dataclass(frozen=True)
class Comparison:
    """Compare two profiles of `trainer profile`: what got faster, by how much, and if significantly."""

    before: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Folder or file of the first profile."""

    after: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Folder or file of the second, compared with the first."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The page's file (default: comparison.html beside the second)."""

    @classmethod
    def from_words(cls, words: Sequence[str], prog: str) -> Comparison:
        """Parse a command line."""
        return parse(cls, words, prog)

    def execute(self, console: Console) -> int:
        """Print the table and write the page."""
        one, other = (read_profile(path) for path in (self.before, self.after))
        folder = self.after if self.after.is_dir() else self.after.parent
        out = self.out or folder / PAGE
        check_output("--out", out, PAGE)
        notes, sheet, said = differences(one, other), compared(one, other), sentence(one, other)
        for note in notes:
            console.print(f"note: {note}", highlight=False, soft_wrap=True)
        console.print(terminal(sheet))
        console.print(said, highlight=False, soft_wrap=not console.is_terminal)
        write_whole(out, page(one, other, notes, sheet, said).encode(errors="replace"))
        console.print(f"page: {out}", highlight=False, soft_wrap=True)
        return 0


def windows(profile: Mapping[str, Any]) -> Mapping[str, Sequence[float]]:
    """Return a profile's seconds per step, by component."""
    found: Mapping[str, Sequence[float]] = profile.get("windows") or {LOOP: profile["steps"]}
    return {name: [value for value in values if value > 0] for name, values in found.items()}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return notes where two profiles aren't of the same machine."""
    pairs = [
        (name, one.get("environment", {}).get(name), other.get("environment", {}).get(name))
        for name in MACHINE
    ]
    told = [f"{name} {before} there and {after} here" for name, before, after in pairs if before != after]
    if not told:
        return []
    return [
        f"these profiles are of different machines ({'; '.join(told)}): their times don't compare settings"
    ]


def sentence(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return how the whole step compares, per image."""
    before, after = (per_image(profile)[LOOP] for profile in (one, other))
    found = ratio(before, after)
    change = 1 / found.speedup - 1
    faster = "less" if change < 0 else "more"
    sure = "significantly" if found.significant else "which is within the measurements' spread"
    steps = [1e3 * statistics.median(windows(profile)[LOOP]) for profile in (one, other)]
    return (
        f"The second takes {percent(abs(change))} {faster} time per image, {sure}: {steps[1]:,.4g} ms per "
        f"step instead of {steps[0]:,.4g} ms."
    )


def per_image(profile: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return a profile's seconds per image, by component."""
    size = int(profile["batch_size"])
    return {name: [value / size for value in values] for name, values in windows(profile).items()}


def compared(one: Mapping[str, Any], other: Mapping[str, Any]) -> Sheet:
    """Return the table of all components that both profiles have.

    Raises
    ------
    RunError
        When they have none in common.
    """
    before, after = windows(one), windows(other)
    names = [name for name in before if before[name] and after.get(name)]
    if not names:
        raise RunError(
            "two profiles must have stages in common to compare; these have none: profile both runs"
        )
    rows = []
    for name in [LOOP, *(name for name in names if name != LOOP)]:
        if name not in names:
            continue
        found = ratio(per_image(one)[name], per_image(other)[name])
        medians = [1e3 * statistics.median(series[name]) for series in (before, after)]
        interval = NOTHING if found.low is None else Figure(f"{found.low:.2f} to {found.high:.2f}", found.low)
        rows.append(
            (
                words("the whole step" if name == LOOP else name),
                *(Figure(f"{value:,.4g}", value) for value in medians),
                Figure(f"{found.speedup:.2f}", found.speedup, bold=found.significant),
                interval,
                words("yes" if found.significant else "no"),
            )
        )
    columns = ("Stage", "ms per step", "ms per step, second", "times as fast", "95% interval", "significant")
    caption = "Stages of both profiles: milliseconds per step, and how they compare per image"
    return Sheet("comparison", caption, columns, tuple(rows))


def page(
    one: Mapping[str, Any], other: Mapping[str, Any], notes: Sequence[str], sheet: Sheet, said: str
) -> str:
    """Return the page of a comparison as text."""
    return document(
        f"Profiles: {said}",
        el("header", el("p", f"{one['setting']} / {other['setting']}", class_="kicker"), el("h1", said)),
        el("aside", [el("p", f"{note[:1].upper()}{note[1:]}.") for note in notes], class_="notice")
        if notes
        else None,
        section("Stage by stage", page_table(sheet)),
        _settings(one, other),
        section(
            "Their bounds",
            el("p", "First: ", one["sentence"]),
            el("p", "Second: ", other["sentence"]),
        ),
        script=sorting(),
    )


def _settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> Safe | None:
    before, after = one.get("settings", {}), other.get("settings", {})
    rows = [
        (words(name), words(str(before.get(name, NONE))), words(str(after.get(name, NONE))))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]
    if not rows:
        return section("Settings that differ", el("p", "All settings are the same."))
    sheet = Sheet("settings", "Settings that differ", ("Setting", "first", "second"), tuple(rows), texts=3)
    return section("Settings that differ", page_table(sheet))
