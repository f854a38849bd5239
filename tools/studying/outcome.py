"""The outcome of a study: the results of each arm, and its differences from the named baselines."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tools.reporting import settings
from tools.reporting.folder import read_run
from tools.reporting.lineup import Entry, Group, Lineup
from tools.reporting.matching import COMPUTE_TOLERANCE, HOURS_TOLERANCE, MACHINE
from tools.reporting.record import RunRecord
from tools.studying import statistics as stats
from tools.studying.cells import Cell
from tools.studying.definition import Study
from tools.studying.grid import Arm
from tools.studying.state import State
from trainer.errors import RunError
from trainer.metrics import Metric

MEASURES = ("trained", "compute", "hours")
"""Costs in which two arms may be matched."""


@dataclass(frozen=True, slots=True)
class ArmResult:
    """The runs of one arm.

    Attributes
    ----------
    planned
        Runs that the study asks for.
    runs
        Records of the finished ones, by seed.
    diverged
        Seeds of runs that diverged: they count, and have no result.
    cells
        All of its cells, by seed.
    """

    arm: Arm
    planned: int
    runs: Mapping[int, RunRecord]
    diverged: tuple[int, ...]
    cells: Mapping[int, Cell]

    @property
    def results(self) -> dict[int, float]:
        """The primary metric of the last round, by seed."""
        return {seed: value for seed, run in self.runs.items() if (value := run.result) is not None}

    @property
    def mean(self) -> float | None:
        """Mean result of the runs that didn't diverge; None without any."""
        return statistics.fmean(self.results.values()) if self.results else None

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation of the results; None for fewer than 2."""
        return statistics.stdev(self.results.values()) if len(self.results) > 1 else None

    @property
    def complete(self) -> bool:
        """Whether all runs that the study asks for have ended."""
        return len(self.runs) + len(self.diverged) >= self.planned

    def cost(self, measure: str) -> float | None:
        """Return the mean of a cost over the runs: samples, compute, or hours without fastest and slowest."""
        values = [value for run in self.runs.values() if (value := _cost(run, measure)) is not None]
        if not values:
            return None
        return stats.trimmed_mean(values) if measure == "hours" else statistics.fmean(values)


def _cost(run: RunRecord, measure: str) -> float | None:
    if measure == "compute":
        return run.compute
    value = run.number("trained" if measure == "trained" else "train_seconds")
    return value / 3600 if value is not None and measure == "hours" else value


@dataclass(frozen=True, slots=True)
class Comparison:
    """An arm against its counterpart, seed by seed.

    Attributes
    ----------
    result, other
        The arm and its counterpart.
    baseline
        The labels that it is compared with.
    differences
        Results of the arm less its counterpart's, of the seeds that both have.
    p, adjusted
        P-value, and that adjusted for the number of comparisons; None where it can't be tested: fewer than
        2 pairs, or a run of either diverged.
    """

    result: ArmResult
    other: ArmResult
    baseline: Mapping[str, str]
    differences: tuple[float, ...]
    p: float | None
    adjusted: float | None = None

    @property
    def interval(self) -> stats.Interval | None:
        """Mean difference with its confidence interval, not adjusted."""
        return stats.interval(self.differences)

    @property
    def mean(self) -> float | None:
        """Mean difference; None without pairs."""
        return statistics.fmean(self.differences) if self.differences else None

    @property
    def significant(self) -> bool:
        """Whether the adjusted p-value is below the level, and all planned runs of both have ended."""
        done = self.result.complete and self.other.complete
        return done and self.adjusted is not None and self.adjusted < stats.ALPHA

    def ratio(self, measure: str) -> float | None:
        """Return the arm's mean cost by its counterpart's."""
        own, other = self.result.cost(measure), self.other.cost(measure)
        return own / other if own is not None and other else None

    def matched(self, measure: str) -> bool:
        """Whether both cost the same, as reports define it: to a batch, to 2%, and to 5% in hours."""
        own, other = self.result.cost(measure), self.other.cost(measure)
        if own is None or other is None:
            return False
        least, machines = min(own, other), {machine(run) for run in self._runs}
        if measure == "hours" and len(machines) > 1:
            return False
        if measure == "trained":
            slack = max((float(run.recipe.get("batch_size", 1)) for run in self._runs), default=1.0)
        else:
            slack = least * (COMPUTE_TOLERANCE if measure == "compute" else HOURS_TOLERANCE)
        return max(own, other) <= least + slack

    @property
    def _runs(self) -> list[RunRecord]:
        return [*self.result.runs.values(), *self.other.runs.values()]


def machine(run: RunRecord) -> tuple[str, ...]:
    """Return the facts of a run's machine that times depend on."""
    return tuple(str(run.environment.get(key)) for key in MACHINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All results of a study so far.

    Attributes
    ----------
    metric
        The primary metric of its runs.
    arms
        Results in the order of the grid.
    comparisons
        Of every arm that has a counterpart with a result, baseline by baseline.
    family
        Comparisons that the study plans: what p-values are adjusted for.
    """

    study: Study
    metric: Metric
    arms: tuple[ArmResult, ...]
    comparisons: tuple[Comparison, ...]
    family: int

    @property
    def runs(self) -> list[RunRecord]:
        """Records of all finished runs."""
        return [run for result in self.arms for run in result.runs.values()]

    @property
    def planned(self) -> int:
        """Runs that the study asks for."""
        return sum(result.planned for result in self.arms)

    @property
    def ended(self) -> int:
        """Runs that finished or diverged."""
        return sum(len(result.runs) + len(result.diverged) for result in self.arms)

    @property
    def tested(self) -> list[Comparison]:
        """Comparisons with a p-value."""
        return [one for one in self.comparisons if one.adjusted is not None]

    def target(self, result: ArmResult) -> float | None:
        """Return what runs of an arm are to reach: the study's target, or its counterpart's mean result."""
        if self.study.target is not None:
            return self.study.target
        if not self.study.baselines:
            return None
        other = self.study.counterpart(result.arm, self.study.baselines[0]) or result.arm
        return next(one.mean for one in self.arms if one.arm is other)

    def detectable(self, corrected: bool) -> float | None:
        """Return the smallest difference that the study's design detects; None without repeated pairs.

        From the standard deviation of the paired differences, pooled over all comparisons.

        Parameters
        ----------
        corrected
            For the strictest step of the correction: at the level divided by the number of comparisons.
        """
        spread = stats.pooled([one.differences for one in self.comparisons])
        pairs = min((len(one.differences) for one in self.tested), default=0)
        if spread is None or pairs < 2:
            return None
        level = stats.ALPHA / self.family if corrected else stats.ALPHA
        return stats.detectable(spread, pairs, level)

    def lineup(self, arms: Sequence[ArmResult] | None = None) -> Lineup:
        """Return finished runs as reports take them: a group per arm, under the arm's labels."""
        shown = [result for result in (self.arms if arms is None else arms) if result.runs]
        entries: list[Entry] = []
        groups: list[Group] = []
        for color, result in enumerate(shown):
            name = label(self.study, result.arm, shown)
            own = tuple(
                Entry(run, settings.flatten(run.recipe), f"{name}, seed {seed}", color)
                for seed, run in sorted(result.runs.items())
            )
            entries += own
            groups.append(Group(name, own))
        return Lineup(tuple(entries), tuple(groups))


def label(study: Study, arm: Arm, among: Sequence[ArmResult]) -> str:
    """Return an arm's labels on the axes on which those ``among`` differ."""
    varied = [axis.name for axis in study.axes if len({one.arm.labels[axis.name] for one in among}) > 1]
    said = [
        arm.labels[name] if _speaks(arm.labels[name]) else f"{name} {arm.labels[name]}" for name in varied
    ]
    return ", ".join(said) or arm.name


def _speaks(label_: str) -> bool:
    """Whether a label is a word: numbers are named with their axis."""
    return not label_.replace(".", "").replace("-", "").isdecimal()


def assess(study: Study, cells: Sequence[Cell], state: State) -> Outcome:
    """Read what the run folders of a study hold.

    Raises
    ------
    RunError
        If runs have different primary metrics, or a folder can't be read.
    """
    metrics = {cell.run.metric.name: cell for cell in cells}
    if len(metrics) > 1:
        one, other, *_ = metrics.items()
        raise RunError(
            f"{study.path.name}: cells must have one primary metric; that of {one[1].name} is {one[0]} and "
            f"that of {other[1].name} {other[0]}: set primary_metric"
        )
    found = []
    for arm in study.arms:
        own = {cell.seed: cell for cell in cells if cell.arm is arm}
        runs = {seed: read_run(cell.folder) for seed, cell in own.items() if cell.finished}
        diverged = tuple(
            seed for seed, cell in own.items() if cell.name in state.diverged and seed not in runs
        )
        found.append(ArmResult(arm, len(study.seeds), runs, diverged, own))
    known = {id(result.arm): result for result in found}
    planned = [
        (result, known[id(counterpart)], baseline)
        for baseline in study.baselines
        for result in found
        if (counterpart := study.counterpart(result.arm, baseline)) is not None
    ]
    compared = [_compare(study, *pair) for pair in planned if pair[0].runs and pair[1].runs]
    return Outcome(study, cells[0].run.metric, tuple(found), _adjusted(compared, len(planned)), len(planned))


def _adjusted(compared: Sequence[Comparison], family: int) -> tuple[Comparison, ...]:
    tested = [index for index, one in enumerate(compared) if one.p is not None]
    adjusted = stats.holm([p for index in tested if (p := compared[index].p) is not None], family)
    found = dict(zip(tested, adjusted, strict=True))
    return tuple(replace(one, adjusted=found.get(index)) for index, one in enumerate(compared))


def _compare(study: Study, result: ArmResult, other: ArmResult, baseline: Mapping[str, str]) -> Comparison:
    own, against = result.results, other.results
    differences = tuple(own[seed] - against[seed] for seed in study.seeds if seed in own and seed in against)
    diverged = result.diverged or other.diverged
    p = None if diverged else stats.p_value(differences, study.test)
    return Comparison(result, other, baseline, differences, p)
