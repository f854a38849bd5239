"""The page of a study: one HTML document that loads nothing, and sorts its tables by itself."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from tools.reporting.document import document, section
from tools.reporting.markup import Safe, details, el
from tools.reporting.wording import listed
from tools.studying import plots
from tools.studying.difficulty import important
from tools.studying.outcome import Outcome
from tools.studying.sheets import Sheet, page_table

TITLES = {
    "results": "Results",
    "comparisons": "Differences from the baselines",
    "claims": "Published differences",
    "targets": "Samples and time to a target",
    "speedups": "Speed-up against tolerance",
    "choices": "How settings were chosen",
    "runs": "All runs",
    "machines": "Machines and versions",
}
FOLDED = ("runs", "machines")
"""Tables that are folded away."""


def page(outcome: Outcome, said: Sequence[str], facts: Sequence[str], sheets: Sequence[Sheet]) -> str:
    """Return the page of a study as text.

    Parameters
    ----------
    said
        Its answer, the first sentence of which is the heading.
    facts
        Its protocol.
    sheets
        Its tables, in their order.
    """
    study = outcome.study
    axes = listed([f"{axis.name} ({', '.join(axis.values)})" for axis in study.axes])
    kicker = f"{study.name}: {outcome.ended} of {outcome.planned} runs"
    answer, *rest = said
    tables = {sheet.name: _section(sheet) for sheet in sheets}
    last = [tables.pop(name) for name in FOLDED if name in tables]
    return document(
        f"{study.name}: {answer}",
        el("header", el("p", kicker, class_="kicker"), el("h1", study.title)),
        el("p", el("strong", answer)),
        [el("p", sentence) for sentence in rest],
        el("p", f"Varied: {axes}.", class_="note"),
        list(tables.values()),
        _curves(outcome),
        _figures("Entropy of sample counts over training", plots.entropies(outcome), ENTROPY_NOTE),
        _figures("Training accuracy", plots.training_accuracy(outcome), TRAINING_NOTE),
        _important(outcome),
        section("Protocol", el("ul", [el("li", fact) for fact in facts], class_="notes")),
        last,
        script=resources.files("tools.studying").joinpath("sort.js").read_text(encoding="utf-8"),
    )


ENTROPY_NOTE = "Of the counts of how often each sample was trained on so far; log N where all are equal."
TRAINING_NOTE = (
    "Of the augmented samples of the steps since the evaluation before; it doesn't compare between samplers "
    "that prefer hard samples. Of mixed images each label counts by its part."
)


def _section(sheet: Sheet) -> Safe:
    shown = page_table(sheet)
    title = TITLES.get(sheet.name, sheet.name)
    return section(title, details(f"{len(sheet.rows)} rows", shown) if sheet.name in FOLDED else shown)


def _curves(outcome: Outcome) -> Safe | None:
    drawn = plots.results(outcome)
    if not drawn:
        return None
    note = el("p", plots.SPREAD_NOTE, class_="note")
    return section(
        f"{outcome.metric.label[:1].upper()}{outcome.metric.label[1:]} over training",
        plots.legend(outcome),
        el("div", drawn, class_="pair"),
        note,
    )


def _figures(title: str, drawn: Sequence[Safe], note: str) -> Safe | None:
    if not drawn:
        return None
    return section(title, el("div", list(drawn), class_="pair"), el("p", note, class_="note"))


def _important(outcome: Outcome) -> Safe | None:
    shown = important(outcome)
    return section("Which classes and images are hard", shown) if shown else None
