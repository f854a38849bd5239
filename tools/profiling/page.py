"""The page of a profile: where a step's time goes and what to change, from the figures of profile.json."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from importlib import resources
from typing import Any

from tools.profiling import charts, sections
from tools.profiling.changes import best
from tools.profiling.charts import milliseconds, quantity
from tools.profiling.intervals import interval_text
from tools.profiling.loader_section import loader
from tools.profiling.loops import median_step
from tools.profiling.memory_section import memory
from tools.reporting.bars import MEANINGS
from tools.reporting.document import document, section
from tools.reporting.markup import Child, Safe, details, el, table
from tools.reporting.wording import NONE, TIMES, count, multiple, percent
from tools.studying.sheets import NOTHING, Figure, Sheet, page_table, words

Row = Mapping[str, Any]


def page(profile: Row) -> str:
    """Return the page of a profile as text."""
    # What disturbed a profile stands in a notice of its own.
    said = str(profile["sentence"]).rstrip(".").removesuffix(f"; but {profile.get('disturbed')}")
    head, _, advice = said.partition("; ")
    return document(
        f"Profile: {head}",
        el("header", el("p", profile["setting"], class_="kicker"), el("h1", head + ".")),
        el("aside", el("p", _sentence(profile["disturbed"])), class_="notice")
        if profile.get("disturbed")
        else None,
        el("p", _with_options(_sentence(advice))) if advice else None,
        _tiles(profile),
        _changes(profile),
        _timeline(profile),
        sections.phases(profile),
        sections.stages(profile),
        sections.spent(profile),
        sections.roofline(profile),
        memory(profile),
        loader(profile),
        sections.steps(profile),
        _settings(profile),
        _reading(profile),
        script=sorting(),
    )


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + "."


def _with_options(words: str) -> list[Child]:
    """Return a text with the options and commands in it set as code, which isn't broken across lines."""
    parts = re.split(r"(`[^`]+`|(?:trainer \w+ )?--[a-z][\w.-]*(?: \d+)?)", words)
    return [
        el("code", part.strip("`"), class_="option") if index % 2 else part
        for index, part in enumerate(parts)
    ]


def sorting() -> str:
    """Return the script that sorts tables."""
    return resources.files("tools.studying").joinpath("sort.js").read_text(encoding="utf-8")


def _tiles(profile: Row) -> Safe:
    """Return the key figures."""
    step = median_step(profile)
    rows: list[tuple[str, str, str]] = [
        ("Step", milliseconds(step), f"{profile['batch_size']:,} images"),
        ("Rate", f"{count(profile['batch_size'] / step)}/s", "images"),
        ("Waiting for data", percent(profile["stall"]), "of the time"),
    ]
    if profile.get("bottleneck") in ("network", "memory"):
        rows.append(("Could be won", percent(1 - profile["gain"], 0), "of a step, with the same network"))
    elif "gain" in profile:
        rows.append(("Could be won", percent(profile["gain"], 0), "of a step, by removing its bound"))
    if "cached" in profile:
        cached = profile["cached"]["milliseconds"] / 1e3
        rows.append(("Headspace", f"{step / cached:.2f}{TIMES}", "as fast, were all batches in memory"))
    if "reserve" in profile:
        rows.append(("Loader alone", multiple(profile["reserve"]), "as many images as training takes"))
    return el(
        "dl",
        [
            el("div", el("dt", name), el("dd", value, el("div", gloss, class_="gloss")))
            for name, value, gloss in rows
        ],
        class_="tiles",
    )


def _changes(profile: Row) -> Safe | None:
    """Return what was tried, and what it is worth."""
    if "tried" not in profile:
        return None
    rows = profile["tried"]
    more = _untried(profile)
    if not rows:
        none = "No setting was tried: --tries 3 tries the three most promising."
        return section("The change to make", el("p", none), more)
    winners = list(best(rows))
    if winners:
        first = winners[0]
        said: list[Child] = [
            "Type ",
            el("code", first["option"]),
            f": measured, it is {_times(first)}.",
            " It changes what is learned." if first["learns"] else " It doesn't change what is learned.",
        ]
    else:
        said = [
            "None of the settings that were tried makes this run faster by more than the measurement's "
            "spread."
        ]
    cells = [_tried(row) for row in rows]
    sheet = Sheet(
        "tried",
        "Settings that were tried, each in turns with the run as it is",
        (
            "Setting",
            "Changes what is learned",
            "ms per step",
            "with it, per as many images",
            "times as fast",
            "95% interval",
        ),
        tuple(cells),
        texts=2,
    )
    said += [
        f" {len(rows)} of {len(rows) + len(profile.get('untried', []))} settings that may help were tried."
    ]
    return section("The change to make", el("p", said), page_table(sheet), more)


def _untried(profile: Row) -> Safe | None:
    """Return the settings that weren't tried, with what would have them tried."""
    rows = profile.get("untried", [])
    if not rows:
        return None
    items = [
        el(
            "li",
            el("code", row["option"]),
            " (changes what is learned)" if row["learns"] else "",
            ": tried with ",
            el("code", row["by"]),
        )
        for row in rows
    ]
    said = "Not tried, as each takes its part of the seconds, in the order in which they may help:"
    return el("div", el("p", said), el("ul", items, class_="notes"))


def _times(row: Row) -> str:
    return f"{row['speedup']:.2f} times as fast (95% interval {row['low']:.2f} to {row['high']:.2f})"


def _tried(row: Row) -> tuple[Figure, ...]:
    learns = words("yes" if row["learns"] else "no")
    if "refused" in row:
        return (
            words(row["option"]),
            words(f"not tried: {row['refused']}"),
            NOTHING,
            NOTHING,
            NOTHING,
            NOTHING,
        )
    base, changed = (1e3 * statistics.median(row[name]) * row["batch_size"] for name in ("base", "changed"))
    return (
        words(row["option"]),
        learns,
        Figure(f"{base:,.4g}", base),
        Figure(f"{changed:,.4g}", changed),
        Figure(f"{row['speedup']:.2f}", row["speedup"], bold=row["significant"]),
        Figure(interval_text(row["low"], row["high"], row.get("unmeasured")), row["low"]),
    )


def _timeline(profile: Row) -> Safe | None:
    spans = profile["timeline"]
    spans = [span for span in spans if span[0] in charts.LANES]
    if not spans:
        return None
    totals: dict[tuple[str, str], float] = {}
    for lane, name, begin, end, _ in spans:
        totals[lane, name] = totals.get((lane, name), 0.0) + end - begin
    whole = max(span[3] for span in spans)
    keys = {name: charts.STAGES.get(name, MEANINGS.get(name, "")) for _, name in totals}
    rows = [
        [charts.key(name, ""), lane, milliseconds(seconds), percent(seconds / whole)]
        for (lane, name), seconds in totals.items()
    ]
    numbers = {span[4] for span in spans if span[0] == "host"} or {span[4] for span in spans}
    said = (
        f"{len(numbers)} steps as they were made. Hatched: waiting for the loader. What the host leaves "
        "blank is Python between the phases."
    )
    if any(span[0] == "device" for span in spans):
        said += " What the device leaves blank, it idles."
    return section(
        "Timeline",
        el("p", said),
        el(
            "div", charts.timeline(spans), class_="scroll", role="region", aria_label="Timeline", tabindex="0"
        ),
        el("ul", [el("li", charts.key(name, meaning)) for name, meaning in keys.items()], class_="keys"),
        _trace(profile),
        details(
            "Times in figures",
            table(
                ["Part", "Lane", "In all", "of the time"],
                rows,
                "Spans of the timeline",
                class_="ledger",
            ),
        ),
    )


def _trace(profile: Row) -> Safe | None:
    """Return where the trace is."""
    trace = profile.get("trace")
    if not trace:
        return None
    return el(
        "p",
        f"All operations of {trace['steps']} steps, with these phases and the loader's batches named, are "
        "in ",
        el("code", trace["file"]),
        f" beside this page ({quantity(trace['bytes'], 'B')}): open it in ui.perfetto.dev or chrome://tracing.",
    )


def _settings(profile: Row) -> Safe | None:
    facts = {
        **profile.get("settings", {}),
        **{f"machine: {key}": value for key, value in profile.get("environment", {}).items()},
    }
    if not facts:
        return None
    pairs = [
        el("div", el("dt", name), el("dd", NONE if value is None else str(value)))
        for name, value in facts.items()
    ]
    return section(
        "Settings and machine", details(f"{len(facts)} entries", el("dl", pairs, class_="settings"))
    )


def _reading(profile: Row) -> Safe:
    lines = [
        "On a GPU the clock is the device's: a phase is what its kernels took, and waiting is how long the "
        "device idled for want of data. On a CPU it is the host's.",
    ]
    if profile["kind"] == "run":
        lines = [
            "A step is bound by the longest stage on the longer of two ways: the training, and the loader's "
            "thread beside it, where it has one. What could be won is how much shorter a step would be "
            "without that stage. Headspace is how much faster steps are with batches in memory, without any "
            "loading; what the loader alone gives is another quantity, its rate with no training beside it.",
            *lines,
            "A tried setting and the run as it is take turns, so that a busy machine disturbs both alike; "
            "bold is significant, by the 95% interval over these turns.",
        ]
    if "first" in profile:
        lines.append(
            f"The first batch is left out: it took {milliseconds(profile['first'])}, in which the set is "
            "opened and kernels are compiled."
        )
    if "overhead" in profile:
        lines.append(
            f"Recording the timeline took {percent(profile['overhead'], 2)} of a recorded step, by its own "
            "clock; all other figures are from steps that weren't recorded."
        )
    return section("How to read this", el("ul", [el("li", line) for line in lines], class_="notes"))
