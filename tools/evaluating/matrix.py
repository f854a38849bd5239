"""Confusion matrices as tables, shaded by the part of the true class."""

from __future__ import annotations

import numpy as np

from tools.reporting.document import section
from tools.reporting.markup import Child, Safe, el, table
from tools.reporting.wording import percent
from tools.studying.sheets import Figure, Sheet, page_table, words
from trainer.inference.class_report import ClassReport

MOST_CLASSES = 30
"""Rows of a matrix; of more classes it shows those that are taken for others most often."""

MOST_PAIRS = 20
"""Rows of the table of pairs."""

SHADES = 10
"""Degrees of shading, in the style sheet."""


def confusion_matrix(report: ClassReport) -> Safe:
    """Return the matrix, of many classes a part of it."""
    support, right = report.support, np.diag(report.confusion)
    shown = np.flatnonzero(support + report.confusion.sum(axis=0) > 0)
    said = "Rows are the true classes, columns the answers. Shaded by the part of the row, blue where right"
    if len(shown) > MOST_CLASSES:
        worst = np.argsort(-(support - right)[shown], kind="stable")[:MOST_CLASSES]
        said += f"; of {len(shown):,} classes the {MOST_CLASSES} of which most images are taken for others"
        shown = np.sort(shown[worst])
    rows: list[list[Child]] = []
    for label in shown.tolist():
        row = report.confusion[label]
        cells: list[Child] = [_cell(report, label, other) for other in shown.tolist()]
        if len(shown) < len(report.classes):
            rest = int(row.sum() - row[shown].sum())
            cells.append(_shaded(rest, int(support[label]), "wrong", f"{report.classes[label]} as others"))
        rows.append([report.classes[label], *cells])
    head: list[Child] = ["", *(el("span", report.classes[label]) for label in shown.tolist())]
    if len(shown) < len(report.classes):
        head.append(el("span", "others"))
    drawn = table(head, rows, "Confusion matrix", class_="matrix", hide_caption=True)
    return section("Confusion matrix", el("p", f"{said}.", class_="note"), drawn)


def _cell(report: ClassReport, true: int, answer: int) -> Child:
    said = f"{report.classes[true]} as {report.classes[answer]}"
    kind = "right" if true == answer else "wrong"
    return _shaded(int(report.confusion[true, answer]), int(report.support[true]), kind, said)


def _shaded(count: int, of: int, kind: str, said: str) -> Child:
    if not count:
        return "\N{MIDDLE DOT}"
    part = count / of
    shade = max(1, round(SHADES * part))
    return el("span", f"{count:,}", class_=f"{kind} shade-{shade}", title=f"{said}: {percent(part)}")


def confused_pairs(report: ClassReport) -> Safe | None:
    """Return the pairs of classes that are confused most often; None where none are."""
    pairs = report.confused(MOST_PAIRS)
    if not pairs:
        return None
    rows = [
        (
            words(report.classes[true]),
            words(report.classes[answer]),
            Figure(f"{count:,}", count),
            Figure(percent(count / report.support[true]), count / float(report.support[true])),
        )
        for true, answer, count in pairs
    ]
    sheet = Sheet(
        "pairs",
        "Classes that are confused most often",
        ("Class", "Taken for", "Images", "of the class"),
        tuple(rows),
        texts=2,
    )
    return section("Confused pairs", page_table(sheet))
