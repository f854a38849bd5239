"""The tables of a study."""

from __future__ import annotations

import statistics

from tools.reporting import metrics, wording
from tools.reporting.mean_curve import Curve, curve
from tools.reporting.reaching import first_at
from tools.reporting.speedup import TOLERANCES, factor
from tools.reporting.wording import NONE, PLUS_MINUS, TIMES, count, percent
from tools.studying import statistics as stats
from tools.studying.outcome import MEASURES, ArmResult, Comparison, Outcome
from tools.studying.sheets import NOTHING, Figure, Sheet, words

EQUAL = {"trained": "samples", "compute": "compute", "hours": "hours"}


def results(outcome: Outcome, *, printed: bool = True) -> Sheet:
    """Return the table of results: an arm per row.

    Parameters
    ----------
    printed
        Whether to have a column of published results, where the study has any.
    """
    metric, axes = outcome.metric, outcome.study.axes
    unit = metrics.unit_of_difference(metric)
    published = outcome.study.published if printed else None
    source = "" if published is None else f" Published: {published.source}, as printed there."
    rows = []
    for one in outcome.arms:
        full = [
            share for run in one.runs.values() if (share := run.fraction_of_full(run.compute)) is not None
        ]
        rows.append(
            (
                *(words(one.arm.labels[axis.name]) for axis in axes),
                _mean(outcome, one),
                *(() if published is None else (_published(outcome, one),)),
                _figure(metrics.deviation(metric, one.deviation), one.deviation),
                Figure(_runs(one), len(one.results)),
                Figure(str(len(one.diverged)), len(one.diverged)),
                _figure(count(one.cost("trained")), one.cost("trained")),
                _figure(
                    percent(statistics.fmean(full)) if full else NONE,
                    statistics.fmean(full) if full else None,
                ),
                _hours(one.cost("hours")),
            )
        )
    return Sheet(
        "results",
        f"{metrics.heading(metric)} of the last round: mean and sample standard deviation over n seeds. "
        "Compute "
        "is a fraction of a full training's, scoring included; time is the training clock, of 3 runs or more "
        f"without the fastest and the slowest.{source}",
        (
            *(axis.name for axis in axes),
            metrics.column(metric),
            *(() if published is None else ("published",)),
            f"sd, {unit}".removesuffix(", "),
            "n",
            "diverged",
            "samples trained",
            "compute",
            "training time",
        ),
        tuple(rows),
        len(axes),
    )


def _mean(outcome: Outcome, one: ArmResult) -> Figure:
    """Return an arm's mean: bold where it is significantly better than its first baseline's counterpart."""
    better = any(
        comparison.significant and _better(outcome, comparison)
        for comparison in outcome.comparisons
        if comparison.result is one and comparison.baseline == outcome.study.baselines[0]
    )
    return _figure(metrics.cell(outcome.metric, one.mean), one.mean, bold=better)


def _published(outcome: Outcome, one: ArmResult) -> Figure:
    """Return the cell of an arm's published result."""
    published = outcome.study.published
    printed = None if published is None else published.of(one.arm)
    if printed is None:
        return NOTHING
    spread = "" if printed.deviation is None else f" {PLUS_MINUS} {printed.deviation:g}"
    return Figure(f"{printed.mean:g}{spread}", printed.mean / metrics.scale(outcome.metric))


def _better(outcome: Outcome, comparison: Comparison) -> bool:
    mean = comparison.mean or 0.0
    return mean > 0 if outcome.metric.higher_is_better else mean < 0


def _runs(one: ArmResult) -> str:
    return str(len(one.results)) if one.complete else f"{len(one.results)} of {one.planned}"


def comparisons(outcome: Outcome) -> Sheet:
    """Return the table of differences from baselines: a pair of arms per row."""
    metric, study = outcome.metric, outcome.study
    unit = metrics.unit_of_difference(metric)
    rows = []
    for one in outcome.comparisons:
        interval, mean = one.interval, one.mean
        between = (
            NONE
            if interval is None
            else f"{_signed(outcome, interval.low)} to {_signed(outcome, interval.high)}"
        )
        rows.append(
            (
                *(words(one.result.arm.labels[axis.name]) for axis in study.axes),
                words(", ".join(one.baseline.values())),
                Figure(str(len(one.differences)), len(one.differences)),
                _figure(_signed(outcome, mean), mean, bold=one.significant),
                Figure(between, None if interval is None else interval.low),
                _p(one.p),
                _p(one.adjusted, bold=one.significant),
                *(_matched(outcome, one, measure) for measure in MEASURES),
            )
        )
    named = {"t": "paired t-test", "sign_flip": "exact sign-flip permutation test"}[study.test]
    return Sheet(
        "comparisons",
        f"Differences of {metric.label} from the named baselines, paired by seed: two-sided {named}, "
        "adjusted for "
        f"{outcome.family} comparisons (Holm); bold where the adjusted p is below {stats.ALPHA:g} and "
        "all "
        "runs have ended. The last columns repeat the difference where both sides cost the same (samples to "
        "a batch, compute to 2%, hours to 5%), and else have the ratio of the costs.",
        (
            *(axis.name for axis in study.axes),
            "against",
            "pairs",
            f"difference, {unit}".removesuffix(", "),
            f"{100 * (1 - stats.ALPHA):g}% interval",
            "p",
            "p, Holm",
            *(f"at equal {EQUAL[measure]}" for measure in MEASURES),
        ),
        tuple(rows),
        len(study.axes) + 1,
    )


def _signed(outcome: Outcome, value: float | None) -> str:
    return NONE if value is None else metrics.difference(outcome.metric, value, 0.0)


def _matched(outcome: Outcome, one: Comparison, measure: str) -> Figure:
    if one.matched(measure):
        return _figure(_signed(outcome, one.mean), one.mean, bold=one.significant)
    ratio = one.ratio(measure)
    return NOTHING if ratio is None else Figure(f"({ratio:.2f}{TIMES})")


def _p(value: float | None, bold: bool = False) -> Figure:
    if value is None:
        return NOTHING
    return Figure("<0.0001" if value < 1e-4 else f"{value:.4f}", value, bold)


def targets(outcome: Outcome) -> Sheet:
    """Return the table of the samples and the time that it took to reach a target, an arm per row."""
    metric, axes = outcome.metric, outcome.study.axes
    rows = []
    for one in outcome.arms:
        target = outcome.target(one)
        if target is None or not one.runs:
            continue
        runs, ended = one.runs.values(), len(one.runs) + len(one.diverged)
        samples = [at for run in runs if (at := first_at(run, "samples", target)) is not None]
        hours = [at / 3600 for run in runs if (at := first_at(run, "seconds", target)) is not None]
        whole = len(samples) == ended
        rows.append(
            (
                *(words(one.arm.labels[axis.name]) for axis in axes),
                _figure(metrics.cell(metric, target), target),
                Figure(f"{len(samples)} of {ended}", len(samples)),
                _figure(count(statistics.fmean(samples)), statistics.fmean(samples)) if whole else NOTHING,
                _hours(stats.trimmed_mean(hours)) if whole and hours else NOTHING,
            )
        )
    whose = (
        "the study's" if outcome.study.target is not None else "the mean result of the baseline's counterpart"
    )
    return Sheet(
        "targets",
        f"Samples trained and training time until an evaluation first reached a target, {whose}; means over "
        "runs, "
        "where all of them reached it. A run whose learning rate falls reaches most of its accuracy late.",
        (*(axis.name for axis in axes), "target", "reached", "samples to target", "time to target"),
        tuple(rows),
        len(axes),
    )


def speedups(outcome: Outcome) -> Sheet:
    """Return the table of speed-up factors against tolerances: a pair of arms per row."""
    study = outcome.study
    rows = []
    for one in outcome.comparisons:
        pair = outcome.lineup([one.other, one.result]).groups
        if len(pair) < 2:
            continue
        baseline, own = curve(pair[0]), curve(pair[1])
        if baseline is None or own is None:
            continue
        size = 1.0 if outcome.metric.percent else abs(baseline.best_mean)
        rows.append(
            (
                *(words(one.result.arm.labels[axis.name]) for axis in study.axes),
                words(", ".join(one.baseline.values())),
                *(_factor(baseline, own, size * tolerance) for tolerance in TOLERANCES),
            )
        )
    unit = "points" if outcome.metric.percent else "percent"
    return Sheet(
        "speedups",
        "Speed-up factor in optimizer steps against tolerance (sample-importance paper, equation 3): the "
        "step at "
        "which the baseline's mean is best, by the first step at which the arm's mean is no more than "
        "epsilon "
        f"{unit} worse. A best over rounds is chosen on the test set: it names a point of a curve, and is no "
        "result.",
        (
            *(axis.name for axis in study.axes),
            "against",
            *(f"\N{GREEK SMALL LETTER EPSILON} = {100 * tolerance:g}" for tolerance in TOLERANCES),
        ),
        tuple(rows),
        len(study.axes) + 1,
    )


def _factor(baseline: Curve, own: Curve, tolerance: float) -> Figure:
    value = factor(baseline, own, tolerance)
    return NOTHING if value is None else Figure(f"{value:.2f}{TIMES}", value)


def _figure(text: str, value: float | None, bold: bool = False) -> Figure:
    return NOTHING if value is None else Figure(text, value, bold)


def _hours(value: float | None) -> Figure:
    return NOTHING if value is None else Figure(wording.duration(3600 * value), value)
