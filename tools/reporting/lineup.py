"""The runs of one report: their labels, and groups of repeats."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools.reporting import settings
from tools.reporting.record import RunRecord
from trainer.metrics import Metric
from trainer.settings.comparison import whole


@dataclass(frozen=True, slots=True)
class Entry:
    """One run of a report.

    Attributes
    ----------
    run
        Contents of its folder.
    recipe
        Its settings, one string each.
    label
        Its label.
    color
        Index of its color; runs that differ only in seeds have the same.
    """

    run: RunRecord
    recipe: dict[str, str]
    label: str
    color: int


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that differ only in seeds.

    Attributes
    ----------
    label
        Label of the group.
    entries
        The runs, at least one.
    """

    label: str
    entries: tuple[Entry, ...]

    @property
    def metric(self) -> Metric:
        """The primary metric of its runs."""
        return self.entries[0].run.metric

    @property
    def results(self) -> list[float]:
        """The primary metric at the end of the finished runs that have it."""
        known = [entry.run.result for entry in self.entries if entry.run.finished]
        return [result for result in known if result is not None]

    @property
    def mean(self) -> float | None:
        """Mean of the results."""
        return statistics.fmean(self.results) if self.results else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the results, of a sample (n - 1); None for fewer than two."""
        return statistics.stdev(self.results) if len(self.results) > 1 else None


@dataclass(frozen=True, slots=True)
class Lineup:
    """All runs of a report; the others are compared with the first."""

    entries: tuple[Entry, ...]
    groups: tuple[Group, ...]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def metric(self) -> Metric:
        """The first run's primary metric, which all have if they are comparable."""
        return self.entries[0].run.metric

    @property
    def comparable(self) -> bool:
        """Whether all runs have one primary metric."""
        return all(entry.run.metric == self.metric for entry in self.entries)

    def by_metric(self) -> list[Lineup]:
        """Split the runs by their primary metrics, in the order of the page."""
        metrics = list(dict.fromkeys(entry.run.metric for entry in self.entries))
        return [
            Lineup(
                tuple(entry for entry in self.entries if entry.run.metric == metric),
                tuple(group for group in self.groups if group.metric == metric),
            )
            for metric in metrics
        ]

    @property
    def several(self) -> bool:
        """Whether there is anything to compare."""
        return len(self.entries) > 1

    @property
    def repeated(self) -> bool:
        """Whether any run was repeated with another seed."""
        return any(len(group.entries) > 1 for group in self.groups)


def line_up(runs: Sequence[RunRecord]) -> Lineup:
    """Label the runs, and group those that differ only in seeds."""
    recipes = [settings.flatten(run.recipe) for run in runs]
    # A run of an earlier version lacks the settings that are newer.
    indices = settings.seed_groups([settings.flatten(whole(run.recipe)) for run in runs])
    labels, called = _names(recipes, [run.name for run in runs], indices)
    colors = {index: color for color, group in enumerate(indices) for index in group}
    entries = tuple(
        Entry(run, recipe, label, colors[index])
        for index, (run, recipe, label) in enumerate(zip(runs, recipes, labels, strict=True))
    )
    groups = tuple(
        Group(name, tuple(entries[i] for i in group)) for name, group in zip(called, indices, strict=True)
    )
    return Lineup(entries, groups)


def _names(
    recipes: Sequence[dict[str, str]], names: Sequence[str], groups: Sequence[Sequence[int]]
) -> tuple[list[str], list[str]]:
    """Return labels of runs and groups: the settings in which groups differ, and seeds within a group."""
    labels = settings.labels(recipes, names)
    if len(groups) == 1:
        return labels, ["all runs"]
    first = [recipes[group[0]] for group in groups]
    without = [{key: value for key, value in one.items() if key not in settings.SEEDS} for one in first]
    called = settings.by_difference(without)
    if called is None:
        return labels, [labels[group[0]] for group in groups]
    for name, group in zip(called, groups, strict=True):
        seeds = settings.labels([recipes[i] for i in group], [names[i] for i in group])
        for i, seed in zip(group, seeds, strict=True):
            labels[i] = name if len(group) == 1 else f"{name}, {seed}"
    return labels, called
