"""Tables of figures, and how they are written: for the terminal, Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from pipeline.text import csv_text
from tools.reporting import markup
from tools.reporting.markup import Child, Safe, el
from tools.reporting.wording import NONE

_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{EN DASH}": "--",
    "\N{NO-BREAK SPACE}": "~",
    "\N{GREEK SMALL LETTER EPSILON}": r"$\varepsilon$",
}


_SHORT = 24
"""Characters of labels that a terminal shows on one line."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A cell of a table.

    Attributes
    ----------
    text
        As it is shown.
    value
        The number or text that CSV files hold and that tables are sorted by; None for nothing.
    bold
        Whether it is emphasized: a significant difference.
    """

    text: str
    value: float | str | None = None
    bold: bool = False


def words(text: str) -> Figure:
    """Return a cell of text."""
    return Figure(text, text)


NOTHING = Figure(NONE)
"""The cell of a figure that there isn't."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table.

    Attributes
    ----------
    name
        Of its CSV file.
    caption
        What it shows, and how to read it.
    columns
        Headings.
    rows
        As many cells each.
    texts
        Number of leading columns that hold words, set flush left.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Figure, ...], ...]
    texts: int = 1

    def __bool__(self) -> bool:
        return bool(self.rows)


def terminal(sheet: Sheet) -> Table:
    """Return a table for the terminal."""
    made = Table(title=sheet.caption, title_justify="left", title_style="", box=None, padding=(0, 1, 0, 0))
    for index, column in enumerate(sheet.columns):
        text = index < sheet.texts
        short = text and all(len(row[index].text) <= _SHORT for row in sheet.rows)
        justify: JustifyMethod = "left" if text else "right"
        made.add_column(Text(column), justify=justify, overflow="fold", no_wrap=short)
    for row in sheet.rows:
        made.add_row(*(Text(cell.text, style="bold" if cell.bold else "") for cell in row))
    return made


def markdown(sheet: Sheet) -> str:
    """Return a table in Markdown, below its caption."""
    rule = ["---" if index < sheet.texts else "---:" for index in range(len(sheet.columns))]
    lines = [f"| {' | '.join(map(_markdown, sheet.columns))} |", f"| {' | '.join(rule)} |"]
    for row in sheet.rows:
        cells = [f"**{_markdown(cell.text)}**" if cell.bold else _markdown(cell.text) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([sheet.caption, "", *lines, ""])


def _markdown(text: str) -> str:
    return re.sub(r"([\\|_*<`])", r"\\\1", text)


def comma_separated(sheet: Sheet) -> str:
    """Return a table as CSV with a line of headings: values in full, nothing where there is none."""
    return csv_text([sheet.columns, *([cell.value for cell in row] for row in sheet.rows)])


def latex(sheet: Sheet) -> str:
    """Return a table environment in LaTeX, for the package booktabs."""
    kinds = "".join("l" if index < sheet.texts else "r" for index in range(len(sheet.columns)))
    body = [" & ".join(map(_latex, sheet.columns)) + r" \\", r"\midrule"]
    for row in sheet.rows:
        cells = [rf"\textbf{{{_latex(cell.text)}}}" if cell.bold else _latex(cell.text) for cell in row]
        body.append(" & ".join(cells) + r" \\")
    return "\n".join(
        (
            r"\begin{table}",
            rf"\caption{{{_latex(sheet.caption)}}}",
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        )
    )


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def page_table(sheet: Sheet) -> Safe:
    """Return a table for the page, whose columns can be sorted by their headings."""
    head = [el("button", column, type="button", title="Sort by this column") for column in sheet.columns]
    rows = [[_cell(cell) for cell in row] for row in sheet.rows]
    kind = f"wide sortable words-{min(sheet.texts, 4)}"
    return markup.table(head, rows, sheet.caption, class_=kind)


def _cell(cell: Figure) -> Child:
    shown: Child = el("strong", cell.text) if cell.bold else cell.text
    return shown if cell.value is None else el("data", shown, value=str(cell.value))
