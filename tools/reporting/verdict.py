"""Cost and result: tiles for one run, tables for several."""

from __future__ import annotations

import statistics

from tools.reporting.figures import SERIES
from tools.reporting.lineup import Lineup
from tools.reporting.markup import Child, Safe, el, join, table
from tools.reporting.mean_curve import Curve, curve, percentiles
from tools.reporting.metrics import best, cell, column, deviation, difference, exact, unit_of_difference
from tools.reporting.record import RunRecord
from tools.reporting.samples import spread
from tools.reporting.wording import (
    NONE,
    PLUS_MINUS,
    budget,
    count,
    duration,
    flops,
    hours,
    percent,
    ratio,
)
from trainer.metrics import Metric


def tiles(run: RunRecord) -> Safe:
    """Return one run's key figures."""
    evenness = None if run.samples is None else spread(run.samples)
    entropy = NONE if evenness is None else f"{evenness.entropy:.3f}"
    nats = "nats" if evenness is None else f"nats, at most {evenness.highest_entropy:.3f}"
    counted = {"trained": "", "compute": "", "hours": ""} | {run.counts: "; the budget counts this"}
    trained = percent(run.fraction_of_full(run.number("trained")))
    with_evaluation = f"{duration(run.number('wall_seconds'))} with evaluation{counted['hours']}"
    figures: list[tuple[str, str, str]] = [
        (
            column(run.metric),
            cell(run.metric, run.result),
            "of the last round" if run.finished else "so far, unfinished",
        ),
        (
            "Trained samples",
            count(run.number("trained")),
            f"{trained} of the full training's{counted['trained']}",
        ),
        (
            "Compute",
            percent(run.fraction_of_full(run.compute)),
            f"of the full training's{counted['compute']}",
        ),
        ("Scoring", percent(run.scoring_fraction), scoring_gloss(run)),
        ("FLOPs", flops(run.number("flops")), "of the whole run, forward and backward"),
        ("Training time", duration(run.number("train_seconds")), with_evaluation),
        ("Rate", count(run.rate), "images per second"),
        ("Stall", percent(run.number("stall")), "of that spent waiting for data"),
        ("Entropy of counts", entropy, nats),
        ("Parameters", count(run.number("parameters")), "trainable"),
    ]
    return el(
        "dl",
        [
            el("div", el("dt", name), el("dd", value), el("dd", gloss, class_="gloss"))
            for name, value, gloss in figures
        ],
        class_="tiles",
    )


def scoring_gloss(run: RunRecord) -> str:
    """Return a description of a run's scoring passes and the cost of one."""
    if not run.number("scored"):
        return "of compute: nothing was scored"
    return f"of compute, {count(run.number('scored'))} samples; one costs {pass_cost(run)}"


def pass_cost(run: RunRecord) -> str:
    """Return the cost of a scoring pass in words, and how it is known unless it was measured."""
    cost, basis = run.score_cost
    if basis == "assumed":
        return (
            "a third of a training step by assumption: this folder records neither time nor FLOPs of a step"
        )
    return f"{cost:.2f} of a training step{'' if basis == 'measured' else ' by FLOPs, not measured'}"


def swatch(color: int) -> Safe:
    """Return a sample of a run's line in the plots."""
    dashes = {0: None, 1: "6 3", 2: "2 2"}[color // SERIES % 3]
    line = el(
        "line", x1="1", x2="23", y1="6", y2="6", stroke_dasharray=dashes, class_=f"run-{color % SERIES}"
    )
    return el("svg", line, class_="swatch", viewBox="0 0 24 12", aria_hidden="true")


def legend(lineup: Lineup) -> Safe:
    """Return the legend of all plots of the page; repeats of a run have the same line."""
    items = []
    for group in lineup.groups:
        times = f", {len(group.entries)} seeds" if len(group.entries) > 1 else None
        items.append(el("li", swatch(group.entries[0].color), " ", group.label, times))
    return el("ul", items, class_="legend")


def comparison(lineup: Lineup) -> Safe:
    """Return a table of every run's cost and result, with ratios to the first run's."""
    first = lineup.entries[0].run
    rows: list[list[Child]] = []
    for index, entry in enumerate(lineup):
        run, other = entry.run, index > 0
        trained, compute, clock = run.number("trained"), run.compute, run.number("train_seconds")
        state = None if run.finished else el("span", "unfinished", class_="tag")
        rows.append(
            [
                join(swatch(entry.color), " ", entry.label, " ", state),
                beside(*_result(lineup, run), other),
                beside(
                    percent(run.fraction_of_full(trained)), ratio(trained, first.number("trained")), other
                ),
                beside(percent(run.fraction_of_full(compute)), ratio(compute, first.compute), other),
                percent(run.scoring_fraction),
                beside(duration(clock), ratio(clock, first.number("train_seconds")), other),
                beside(count(run.rate), ratio(run.rate, first.rate), other),
                percent(run.number("stall")),
            ]
        )
    head = [
        "Run",
        column(lineup.metric) if lineup.comparable else "Primary metric",
        "Trained, of full",
        "Compute, of full",
        "Scoring, of compute",
        "Training time",
        "Images/s",
        "Stall",
    ]
    caption = (
        "Last round of each run; trained samples and compute by those of the full training; "
        f"in small, {_differences(lineup)}ratios against the first run"
    )
    return table(head, rows, caption, class_="comparison")


def _result(lineup: Lineup, run: RunRecord) -> tuple[str, str]:
    """Return a run's result, and its difference from the first run's; with its name if metrics differ."""
    if not lineup.comparable:
        return f"{run.metric.label} {exact(run.metric, run.result)}", NONE
    first = lineup.entries[0].run
    return cell(run.metric, run.result), difference(run.metric, run.result, first.result)


def _differences(lineup: Lineup) -> str:
    if not lineup.comparable:
        return ""
    what = "points" if lineup.metric.percent else "differences"
    return f"{what} of {lineup.metric.label} and "


def beside(value: str, against: str, other: bool) -> Child:
    """Return a table's figure, with its comparison to the first row's in small print in other rows."""
    return join(value, el("span", against, class_="against")) if other and against != NONE else value


def seeds(lineup: Lineup) -> Safe | None:
    """Return mean and spread over runs that differ only in seeds; None if there are none.

    Beside the last round's result, the reported one, stands the measure of the sample-importance paper's
    tables: the best over rounds of the mean over runs. The runs have one primary metric.
    """
    groups = [group for group in lineup.groups if group.mean is not None]
    if not any(group.deviation is not None for group in groups):
        return None
    metric, rows = lineup.metric, []
    for group in groups:
        finished = [entry.run for entry in group.entries if entry.run.finished]
        times = [seconds for run in finished if (seconds := run.number("train_seconds")) is not None]
        spread = NONE
        if len(group.results) > 1:
            spread = ", ".join(cell(metric, value) for value in percentiles(group.results))
        rows.append(
            [
                group.label,
                str(len(group.results)),
                cell(metric, group.mean),
                deviation(metric, group.deviation),
                spread,
                _best(metric, curve(group)),
                duration(statistics.fmean(times)) if times else NONE,
            ]
        )
    head = [
        "Settings",
        "Runs",
        f"Mean {metric.label}, last round",
        f"Standard deviation, {unit_of_difference(metric)}".removesuffix(", "),
        "16th and 84th percentile",
        f"{best(metric).capitalize()} mean {metric.label}",
        "Mean training time",
    ]
    top = "highest" if metric.higher_is_better else "lowest"
    return table(
        head,
        rows,
        f"Finished runs that differ in nothing but their seeds; the {best(metric)} mean {metric.label} is "
        f"that of the round in which the mean over the runs is {top}, {PLUS_MINUS} their standard deviation "
        "there",
        class_="wide",
    )


def _best(metric: Metric, found: Curve | None) -> str:
    if found is None:
        return NONE
    there = found.values[:, found.best].tolist()
    spread = f" {PLUS_MINUS} {deviation(metric, statistics.stdev(there))}" if len(there) > 1 else ""
    return f"{cell(metric, found.best_mean)}{spread}, round {count(float(found.rounds[found.best]))}"


def unfinished(run: RunRecord) -> str:
    """Return the progress of an unfinished run in words."""
    trained, planned = run.number("trained"), run.number("planned")
    if trained is None:
        return "This run is unfinished: it has logged no step yet."
    steps, fraction = run.number("steps"), budget(run.number("budget"))
    planned_hours = run.number("budget_hours")
    at = f" after step {count(steps)}" if steps is not None else ""
    if planned_hours is not None:
        spent = percent(run.steps.last("progress"))
        far = f"{spent} of its {hours(planned_hours)} is spent, on {count(trained)} trained samples"
    elif run.counts == "compute":
        spent = percent(run.steps.last("progress"))
        far = f"{spent} of its budget of {fraction} of compute is spent, on {count(trained)} trained samples"
    else:
        of = f" of {count(planned)} ({percent(trained / planned)})" if planned else ""
        far = f"{count(trained)}{of} samples of its budget of {fraction} are trained"
    return (
        f"This run is unfinished: {far}{at}. "
        f"Its learning rate has not come to its floor, so its {run.metric.label} is provisional."
    )


def collapsed(run: RunRecord) -> str | None:
    """Return a note if a run's last evaluation shows that its training has collapsed."""
    found = run.collapsed
    if found is None:
        return None
    metric, value = found
    return (
        f"This run has collapsed: {metric.label} {exact(metric, value)}, below {metric.collapsed_below:g}. "
        f"Its {run.metric.label} is that of a network which shows nearly the same of every image."
    )


def not_last(run: RunRecord) -> str | None:
    """Return a note if a finished run's last evaluation is not of its last step."""
    evaluated, steps = run.evaluations.last("step"), run.number("steps")
    if evaluated is None or steps is None or evaluated >= steps:
        return None
    return (
        f"The last evaluation was made at step {count(evaluated)} of {count(steps)}: "
        f"the {run.metric.label} is not that of the last round."
    )
