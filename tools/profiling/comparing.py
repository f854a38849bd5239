"""Two profiles side by side: what got faster, by how much, and whether that is more than their spread."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from pipeline.formats.whole import write_whole
from tools.arguments import parse
from tools.profiling import reference
from tools.profiling.files import OUT, check_page, page_file, read_profile
from tools.profiling.intervals import DRIFT, UNMEASURABLE, Ratio, apart, drift
from tools.profiling.page import sorting
from tools.reporting.document import document, section
from tools.reporting.markup import Safe, el
from tools.reporting.wording import NONE, percent
from tools.studying.sheets import Figure, Sheet, page_table, terminal, words
from trainer.errors import RunError

PAGE = "comparison.html"

MACHINE = ("cpu", "gpu", "device", "cores", "torch")
"""Entries of the environment without which times don't compare."""

MOVED = 1.1
"""Times by which a machine's own speed may differ between two profiles without a note."""

LOOP = "loop"
"""The whole step, among the components."""

NAMES = {LOOP: "the whole step", reference.NAME: "the machine itself"}
"""Names of components in the table, where they have others."""


@dataclass(frozen=True)
class Comparison:
    """Compare two profiles of `trainer profile`: what got faster, by how much, and if significantly."""

    before: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Folder or file of the first profile."""

    after: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Folder or file of the second, compared with the first."""

    out: Annotated[Path | None, tyro.conf.arg(metavar=OUT)] = None
    """Where the page is written: a folder, for comparison.html in it, or a page FILE.html (default:
    comparison.html beside the second)."""

    @classmethod
    def from_words(cls, words: Sequence[str], prog: str) -> Comparison:
        """Parse a command line."""
        return parse(cls, words, prog)

    def execute(self, console: Console) -> int:
        """Print the table and write the page."""
        one, other = (read_profile(path) for path in (self.before, self.after))
        folder = self.after if self.after.is_dir() else self.after.parent
        out = page_file(self.out or folder, PAGE)
        check_page(out)
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
    """Return notes where two profiles aren't of the same machine, or not of an equally fast one."""
    pairs = [
        (name, one.get("environment", {}).get(name), other.get("environment", {}).get(name))
        for name in MACHINE
    ]
    told = [f"{name} {before} there and {after} here" for name, before, after in pairs if before != after]
    if told:
        return [
            f"these profiles are of different machines ({'; '.join(told)}): their times don't compare "
            "settings"
        ]
    faster = _machine(one, other)
    if max(faster, 1 / faster) < MOVED:
        return []
    how = f"{max(faster, 1 / faster):.2f} times as {'fast' if faster > 1 else 'slow'}"
    return [
        f"the machine itself was {how} for the second, by a fixed piece of work that both timed: other "
        "programs used it, so profile both again while it is quiet"
    ]


def sentence(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return how the whole step compares, per image."""
    found = _ratio(one, other, LOOP)
    change = 1 / found.speedup - 1
    faster = "less" if change < 0 else "more"
    sure = (
        "significantly"
        if found.significant
        else f"and whether that is more than chance is not measurable ({found.unmeasured})"
        if found.unmeasured
        else "which is within the measurements' spread and the machine's drift"
    )
    steps = [1e3 * statistics.median(windows(profile)[LOOP]) for profile in (one, other)]
    return (
        f"The second takes {percent(abs(change))} {faster} time per image, {sure}: {steps[1]:,.4g} ms per "
        f"step instead of {steps[0]:,.4g} ms."
    )


def per_image(profile: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return a profile's seconds per image, by component."""
    size = int(profile["batch_size"])
    return {
        # The fixed piece of work has no images.
        name: [value if name == reference.NAME else value / size for value in values]
        for name, values in windows(profile).items()
    }


def _later(profile: Mapping[str, Any], name: str) -> list[float]:
    """Return a component's seconds per image at later moments: of whole steps, beside tried settings."""
    if name != LOOP:
        return []
    return [statistics.median(row["base"]) for row in profile.get("tried", []) if row.get("base")]


def _ratio(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> Ratio:
    later = _later(one, name), _later(other, name)
    machine = 1.0 if name == reference.NAME else _machine(one, other)
    return apart(per_image(one)[name], per_image(other)[name], later, machine)


def _machine(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Return how many times faster the machine itself was for the second profile; 1 where it isn't known."""
    before, after = (windows(profile).get(reference.NAME) for profile in (one, other))
    return statistics.median(before) / statistics.median(after) if before and after else 1.0


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
        found = _ratio(one, other, name)
        medians = [1e3 * statistics.median(series[name]) for series in (before, after)]
        rows.append(
            (
                words(NAMES.get(name, name)),
                *(Figure(f"{value:,.4g}", value) for value in medians),
                Figure(f"{found.speedup:.2f}", found.speedup, bold=found.significant),
                Figure(UNMEASURABLE if found.unmeasured else found.text, found.low),
                words(found.unmeasured or ("yes" if found.significant else "no")),
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
        _reading(one, other),
        script=sorting(),
    )


def _reading(one: Mapping[str, Any], other: Mapping[str, Any]) -> Safe:
    """Return how the intervals are made."""
    moved = [percent(drift(per_image(profile)[LOOP], _later(profile, LOOP))) for profile in (one, other)]
    lines = [
        "Two profiles of one recipe differ, too: between them clocks, other programs and the layout of "
        "memory change. An interval therefore has, of each profile, the spread of its level between "
        "beginning, middle and end, and the moments at which settings were tried; it is at least as wide as "
        f"if that were {percent(DRIFT, 0)}, so that differences below about 6% are never called significant.",
        f"Here a step's level moved by {moved[0]} within the first profile and by {moved[1]} within the "
        "second (standard deviations).",
        "The machine itself, a fixed piece of work that is no part of the run, was timed in turns with the "
        "stages of each; by as much as it was faster or slower, so may all others be.",
        "To tell smaller differences apart, have one profile try the setting: it then takes turns with the "
        "run as it is.",
        "An interval whose bounds lie tenfold apart, or of fewer than three windows, is not measurable.",
    ]
    return section("How to read this", el("ul", [el("li", line) for line in lines], class_="notes"))


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
