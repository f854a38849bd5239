"""Variety of the samples that a run trained on, and its hardest classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tools.reporting import figures
from tools.reporting.bars import dots
from tools.reporting.curves import figure
from tools.reporting.lineup import Lineup
from tools.reporting.markup import Child, Safe, details, el, table
from tools.reporting.record import Samples
from tools.reporting.samples import Spread, class_probabilities, spread
from tools.reporting.wording import NONE, count, listed, percent

HARDEST = 10


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run with per-sample records: its color, label, rows, and their statistics."""

    color: int
    label: str
    samples: Samples
    spread: Spread


def recorded(lineup: Lineup) -> list[Recorded]:
    """Return the runs with per-sample records."""
    return [
        Recorded(entry.color, entry.label, entry.run.samples, found)
        for entry in lineup
        if entry.run.samples is not None and (found := spread(entry.run.samples)) is not None
    ]


def times_seen(shown: Sequence[Recorded]) -> Safe:
    """Return a histogram of how often samples were trained on."""
    told = [
        f"{one.label} from {one.spread.least} to {one.spread.most} times, median {one.spread.median:g}"
        for one in shown
    ]
    drawing = figures.histogram(
        "times-seen",
        [(one.color, one.samples.times_seen) for one in shown],
        title="How often samples were trained on",
        description=f"Histogram: {listed(told)}.",
        x_label="times trained on",
        y_label="samples",
    )
    edges = figures.bins([one.samples.times_seen for one in shown])
    columns = [np.histogram(one.samples.times_seen, bins=edges)[0] for one in shown]
    rows = [
        [f"{low}" if high - low == 1 else f"{low} to {high - 1}", *(count(column[i]) for column in columns)]
        for i, (low, high) in enumerate(pairwise(edges))
    ]
    numbers = table(["Times", *_heads(shown, "Samples")], rows, "Samples that were trained on so many times")
    return figure(drawing, "How often samples were trained on", details("The numbers", numbers))


def entropies(shown: Sequence[Recorded]) -> Safe:
    """Return a table of the variety of samples that each run trained on."""
    rows = [
        [
            one.label if len(shown) > 1 else "This run",
            f"{one.spread.entropy:.3f}",
            f"{one.spread.highest_entropy:.3f}",
            f"{count(one.spread.effective_samples)} of {count(one.spread.samples)}",
            f"{count(one.spread.unseen)} ({percent(one.spread.unseen / one.spread.samples)})",
            f"{one.spread.least}, {one.spread.median:g}, {one.spread.most}",
        ]
        for one in shown
    ]
    head = [
        "",
        "Entropy H(c), nats",
        "At most, log N",
        "As varied as equal use of",
        "Never trained on",
        "Least, median, most often",
    ]
    return table(head, rows, "Variety of the samples trained on", class_="wide")


def classes(shown: Sequence[Recorded]) -> Safe | None:
    """Return the mean probability of the true class, by class; None if no sample was seen."""
    found = [class_probabilities(one.samples) for one in shown]
    names = {
        label: one.samples.class_name(label) for one, of in zip(shown, found, strict=True) for label in of
    }
    if not names:
        return None

    def hardness(label: int) -> float:
        return float(np.mean([of[label] for of in found if label in of]))

    order = sorted(names, key=hardness)
    written = {label: [f"{of[label]:.3f}" if label in of else NONE for of in found] for label in order}
    single = len(shown) == 1
    rows: list[list[Child]] = []
    for label in order[:HARDEST]:
        values = [(one.color, of[label]) for one, of in zip(shown, found, strict=True) if label in of]
        spoken = f"{names[label]}: {', '.join(written[label])}"
        rows.append([names[label], dots(values, spoken), *(written[label] if single else [])])
    scale = el("span", el("span", "0"), el("span", "1"), class_="scale")
    which = "Hardest classes" if len(order) <= HARDEST else f"The {HARDEST} hardest of {len(order)} classes"
    caption = f"{which}: mean probability given to the true class"
    first = table(["Class", scale, *([""] if single else [])], rows, caption, class_="classes")
    if single and len(order) <= HARDEST:
        return el("div", first)
    every = table(
        ["Class", *_heads(shown, "Mean probability")],
        [[names[label], *written[label]] for label in order],
        "Mean probability given to the true class, hardest class first",
    )
    return el("div", first, details("The numbers", every))


def _heads(shown: Sequence[Recorded], alone: str) -> list[str]:
    return [one.label for one in shown] if len(shown) > 1 else [alone]
