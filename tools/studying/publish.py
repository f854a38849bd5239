"""The outputs of a study: its tables in Markdown, CSV and LaTeX, and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from pipeline.formats.whole import write_whole
from tools.studying import claims, records, sheets, tables
from tools.studying.cells import Cell
from tools.studying.conclusion import conclusion, protocol
from tools.studying.definition import Study
from tools.studying.outcome import Outcome, assess
from tools.studying.page import page
from tools.studying.selecting import Choice
from tools.studying.sheets import Sheet
from tools.studying.state import State


def publish(
    study: Study,
    cells: Sequence[Cell],
    choices: Mapping[str, Choice],
    state: State,
    folder: Path,
    console: Console,
) -> None:
    """Print the first tables, and write all outputs to a folder, each whole or not at all.

    Raises
    ------
    RunError
        If runs have different primary metrics, or a run folder can't be read.
    UnwritableError
        If a file can't be written.
    """
    outcome = assess(study, cells, state)
    made = [
        tables.results(outcome),
        tables.comparisons(outcome),
        claims.sheet(outcome),
        tables.targets(outcome),
        tables.speedups(outcome),
        records.choices(outcome, choices),
        records.runs(outcome),
        records.machines(outcome),
    ]
    shown = [sheet for sheet in made if sheet]
    said = conclusion(outcome)
    facts = protocol(outcome, state)
    # A terminal has no room for what was published: it stands in the files.
    for sheet in filter(None, (tables.results(outcome, printed=False), tables.comparisons(outcome))):
        console.print(sheets.terminal(sheet))
    for sentence in said:
        console.print(sentence, soft_wrap=True, highlight=False)
    for sheet in shown:
        write_whole(folder / f"{sheet.name}.csv", sheets.comma_separated(sheet).encode())
    write_whole(folder / "study.md", _markdown(outcome, said, facts, shown).encode())
    write_whole(folder / "study.tex", "\n".join(map(sheets.latex, shown)).encode())
    write_whole(folder / "study.html", page(outcome, said, facts, shown).encode(errors="replace"))
    console.print(
        f"tables: {folder / 'study.md'}, page: {folder / 'study.html'}", soft_wrap=True, highlight=False
    )


def _markdown(outcome: Outcome, said: Sequence[str], facts: Sequence[str], shown: Sequence[Sheet]) -> str:
    lines = [f"# {outcome.study.title}", "", *(line for sentence in said for line in (sentence, ""))]
    lines += [
        line for sheet in shown for line in (f"## {sheet.name.capitalize()}", "", sheets.markdown(sheet))
    ]
    lines += ["## Protocol", "", *(f"- {fact}" for fact in facts), ""]
    return "\n".join(lines)
