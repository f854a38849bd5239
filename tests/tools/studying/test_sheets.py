"""Tables in every form."""

from __future__ import annotations

import csv
import io

from rich.console import Console

from tools.studying.sheets import (
    NOTHING,
    Figure,
    Sheet,
    comma_separated,
    latex,
    markdown,
    page_table,
    terminal,
    words,
)

SHEET = Sheet(
    "some",
    "50% & more: a_b",
    ("arm", "accuracy", "p, Holm"),
    (
        (words("p_sgd|x"), Figure("91.2% \N{PLUS-MINUS SIGN} 1", 0.912, bold=True), Figure("<0.0001", 1e-6)),
        (words("<b>"), NOTHING, NOTHING),
    ),
)


def test_markdown() -> None:
    assert markdown(SHEET) == (
        "50% & more: a_b\n\n"
        "| arm | accuracy | p, Holm |\n| --- | ---: | ---: |\n"
        "| p\\_sgd\\|x | **91.2% \N{PLUS-MINUS SIGN} 1** | \\<0.0001 |\n"
        "| \\<b> | \N{EN DASH} | \N{EN DASH} |\n"
    )


def test_csv_has_values_in_full() -> None:
    rows = list(csv.reader(io.StringIO(comma_separated(SHEET))))
    assert rows == [["arm", "accuracy", "p, Holm"], ["p_sgd|x", "0.912", "1e-06"], ["<b>", "", ""]]


def test_latex_escapes_what_it_must() -> None:
    text = latex(SHEET)
    assert r"\caption{50\% \& more: a\_b}" in text
    assert r"p\_sgd|x & \textbf{91.2\% $\pm$ 1} & $<$0.0001 \\" in text
    assert text.count(r"\\") == 3
    assert r"\begin{tabular}{lrr}" in text


def test_the_page_s_table_has_headings_to_sort_by_and_escapes_text() -> None:
    text = page_table(SHEET)
    assert '<button type="button" title="Sort by this column">accuracy</button>' in text
    assert '<data value="0.912"><strong>91.2% \N{PLUS-MINUS SIGN} 1</strong></data>' in text
    assert "&lt;b&gt;" in text


def test_the_terminal_s_table() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(terminal(SHEET))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "p_sgd|x" in text
    assert "<0.0001" in text
