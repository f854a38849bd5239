"""Which classes and images are important, or hard, in the runs of a study."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tools.reporting import importance, pictures, weights
from tools.reporting.lineup import Entry, Group, Lineup
from tools.reporting.markup import Safe, el
from tools.reporting.record import RunRecord
from tools.studying.outcome import Outcome

DIFFICULTY = "difficulties"
NOTE = (
    "No run took sample weights, so an image's difficulty stands for them: 1 less the mean probability that "
    "training gave to its class."
)


def important(outcome: Outcome) -> list[Safe]:
    """Return class importance with rank correlations, and the easiest and hardest image of each class.

    By the sample weights of runs that took any, else by the images' difficulty; empty without per-sample
    records.
    """
    lineup, what, note = outcome.lineup(), "sample weights", None
    groups, samples, _ = importance.weighted(lineup)
    if samples is None:
        lineup, what, note = _difficulties(lineup), DIFFICULTY, el("p", NOTE, class_="note")
        groups, samples, _ = importance.weighted(lineup)
    if samples is None:
        return []
    # One row per arm: an image's mean over the seeds.
    means = [
        _mean(group)
        for group in lineup.groups
        if any(_weights(entry.run) is not None for entry in group.entries)
    ]
    shown = pictures.extremes(
        Lineup(tuple(means), tuple(Group(entry.label, (entry,)) for entry in means)),
        "difficulty" if note else "sample weight",
    )
    found = [note, weights.classes(groups, samples, what), weights.correlations(groups, what), *(shown or [])]
    return [one for one in found if one is not None]


def _difficulties(lineup: Lineup) -> Lineup:
    def changed(entry: Entry) -> Entry:
        samples = entry.run.samples
        if samples is None:
            return entry
        weight = 1 - samples.mean_probability
        # A sample that was never trained on is as hard as the others are on average.
        weight = np.where(
            np.isfinite(weight), weight, np.nanmean(weight) if np.isfinite(weight).any() else np.nan
        )
        return replace(entry, run=replace(entry.run, samples=replace(samples, weight=weight)))

    groups = tuple(Group(group.label, tuple(map(changed, group.entries))) for group in lineup.groups)
    return Lineup(tuple(entry for group in groups for entry in group.entries), groups)


def _weights(run: RunRecord) -> object:
    return None if run.samples is None else run.samples.weight


def _mean(group: Group) -> Entry:
    """Return a group's first run with the mean weights of all its runs that have the same samples."""
    having = [entry for entry in group.entries if _weights(entry.run) is not None]
    first = having[0]
    assert first.run.samples is not None
    alike = [
        samples.weight
        for entry in having
        if (samples := entry.run.samples) is not None
        and samples.weight is not None
        and np.array_equal(samples.label, first.run.samples.label)
    ]
    samples = replace(first.run.samples, weight=np.mean(alike, axis=0))
    return Entry(replace(first.run, samples=samples), first.recipe, group.label, first.color)
