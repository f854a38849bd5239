"""The GPU check's page: one self-contained HTML document, made from results.json only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.gpu.sections import SECTIONS, Section
from tools.reporting.document import document, section
from tools.reporting.markup import Child, Safe, details, el, join, table
from tools.reporting.wording import NONE, duration

SCHEMA = 1

Results = Mapping[str, Any]
"""The content of results.json."""

SMOKE = (
    "In smoke mode networks, images and batches have minimum size, whatever their names: it tests that every "
    "section runs, and its rates are meaningless."
)

BOUNDS = ("loop", "Steps, and what bounds them", "bound by")
"""Section, table and column of the bottlenecks."""


def page(results: Results) -> str:
    """Return the page of a check's results."""
    told = {one.name: one for one in SECTIONS}
    known = [told.get(name) or Section(name, name, "", 0.0) for name in results["sections"]]
    headline = verdict(results)
    return document(
        headline,
        el("header", el("p", _subject(results), class_="kicker"), el("h1", headline)),
        el("p", SMOKE, class_="note") if results["smoke"] else None,
        _problems(results, known),
        _bounds(results),
        section("Sections", _overview(results, known)),
        [_section(one, results["sections"][one.name]) for one in known],
    )


def verdict(results: Results) -> str:
    """Return the result of the check in one sentence."""
    sections = results["sections"].values()
    failed = sum(one["status"] == "failed" for one in sections)
    found = sum(len(one.get("problems", ())) for one in sections)
    left_out = sum(one["status"] == "left out" for one in sections)
    parts = [f"{found} problem{'' if found == 1 else 's'} found"] if found else []
    parts += [f"{failed} section{'' if failed == 1 else 's'} failed"] if failed else []
    parts = parts or ["no problem found"]
    parts += [f"{left_out} left out"] if left_out else []
    said = ", ".join(parts)
    count = len(results["sections"])
    return f"{said[0].upper()}{said[1:]} in {count} section{'' if count == 1 else 's'}"


def sound(results: Results) -> bool:
    """Return whether no section failed or found a problem."""
    return not any(one["status"] == "failed" or one.get("problems") for one in results["sections"].values())


def cell(value: object) -> str:
    """Return a value as a table shows it.

    >>> [cell(value) for value in (None, True, 12, 1234.5, 0.01234, "a")][1:]
    ['yes', '12', '1,234', '0.01234', 'a']
    """
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _subject(results: Results) -> str:
    machine = results["sections"].get("machine", {}).get("facts", {})
    what = "GPU check in smoke mode, on a CPU" if results["smoke"] else "GPU check"
    parts = [what, machine.get("gpu"), results["began"], f"{results['minutes']:g} minutes"]
    return " · ".join(str(part) for part in parts if part)


def _problems(results: Results, known: list[Section]) -> Safe | None:
    lines: list[Safe] = []
    for one in known:
        result = results["sections"][one.name]
        if result["status"] == "failed":
            lines.append(el("p", el("b", one.title), f": {result['error']}"))
        lines += [el("p", el("b", one.title), f": {problem}") for problem in result.get("problems", ())]
    return el("aside", lines, class_="notice") if lines else None


def _bounds(results: Results) -> Safe | None:
    name, caption, column = BOUNDS
    rows = results["sections"].get(name, {}).get("tables", {}).get(caption)
    if not rows:
        return None
    lines = [
        join(el("b", row["case"]), f": bound by {row[column]}; {row['images/s']:,.0f} images/s")
        for row in rows
    ]
    return section("Bottlenecks", el("ul", [el("li", line) for line in lines]))


def _overview(results: Results, known: list[Section]) -> Safe:
    rows: list[list[Child]] = []
    for one in known:
        result = results["sections"][one.name]
        taken = result.get("seconds")
        problems = str(len(result["problems"])) if "problems" in result else NONE
        rows.append([one.title, result["status"], problems, duration(taken)])
    return table(["Section", "Status", "Problems", "Time"], rows, "Sections of the check", hide_caption=True)


def _section(one: Section, result: Results) -> Safe:
    notes = result.get("notes", ())
    return section(
        one.title,
        el("p", f"{result['status'].capitalize()}: {result['error']}.") if "error" in result else None,
        details("Trace", el("pre", el("code", result["trace"]))) if result.get("trace") else None,
        _facts(result.get("facts", {})),
        [_table(caption, rows) for caption, rows in result.get("tables", {}).items() if rows],
        el("ul", [el("li", note) for note in notes], class_="notes") if notes else None,
    )


def _facts(facts: Results) -> Safe | None:
    if not facts:
        return None
    rows = [el("div", el("dt", name), el("dd", cell(value))) for name, value in facts.items()]
    return el("dl", rows, class_="settings")


def _table(caption: str, rows: list[Results]) -> Safe:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    body = [[cell(row.get(column)) for column in columns] for row in rows]
    return table([*columns], body, caption)
