"""One sentence on the cost and result of one run or several."""

from __future__ import annotations

from tools.reporting.lineup import Group, Lineup
from tools.reporting.metrics import deviation, heading, short
from tools.reporting.record import RunRecord
from tools.reporting.wording import PLUS_MINUS, budget, count, duration, hours, listed, percent, span
from trainer.metrics import Metric


def headline(run: RunRecord) -> str:
    """Return one sentence on a run's cost and result."""
    counted, limit = " in compute" if run.counts == "compute" else "", run.number("budget_hours")
    fraction = f"{budget(run.number('budget'))} of the full budget{counted}"
    if limit is not None:
        fraction = hours(limit)
    trained, full = run.number("trained"), run.number("full_budget_samples")
    samples = (
        f"{count(trained)} of {count(full)} samples" if full is not None else f"{count(trained)} samples"
    )
    spent = ["no step logged" if trained is None else f"{samples} trained"]
    if run.fraction_of_full(run.compute) is not None:
        spent.append(f"{percent(run.fraction_of_full(run.compute))} of the full compute")
    if run.number("train_seconds") is not None:
        spent.append(f"{duration(run.number('train_seconds'))} of training")
    if run.number("stall") is not None:
        spent.append(f"stall {percent(run.number('stall'))}")
    if run.number("price") is not None:
        spent.append(f"price {run.number('price'):,.2f}")
    if not run.finished:
        label = run.metric.label
        got = f"no {label} yet" if run.result is None else f"{label} {short(run.metric, run.result)} so far"
        return f"Unfinished, {got}, on the way to {fraction}: {', '.join(spent)}."
    collapsed = "Collapsed: " if run.collapsed else ""
    label = run.metric.label if collapsed else heading(run.metric)
    got = f"{collapsed}{label} {short(run.metric, run.result)}{run.evaluated}"
    if run.result is None:
        got = f"No {run.metric.label} recorded"
    return f"{got} after {fraction}: {', '.join(spent)}."


def comparison(lineup: Lineup) -> str:
    """Return one sentence that compares the results and costs of several runs."""
    runs = [entry.run for entry in lineup]
    reached = _reached(lineup)
    if reached is None:
        return f"{len(runs)} runs, none of which has been evaluated yet."
    trained = [value for run in runs if (value := run.number("trained")) is not None]
    seconds = [value for run in runs if (value := run.number("train_seconds")) is not None]
    compute = [fraction for run in runs if (fraction := run.fraction_of_full(run.compute)) is not None]
    cost = [f"on {span(trained, count)} trained samples"] if trained else []
    cost += [f"with {span(compute, percent)} of the full compute"] if compute else []
    cost += [f"in {span(seconds, duration)} of training"] if seconds else []
    return f"{reached}, each {' '.join(cost)}." if cost else f"{reached}."


def _reached(lineup: Lineup) -> str | None:
    """Return each run's result, or each group's mean over seeds; the ends of the range if there are many."""
    if lineup.repeated and all(group.mean is not None for group in lineup.groups):
        said = [
            (group.mean or 0.0, group.label, _named(lineup, group.metric, _spread(group)))
            for group in lineup.groups
        ]
    else:
        said = [
            (result, entry.label, _named(lineup, entry.run.metric, short(entry.run.metric, result)))
            for entry in lineup
            if (result := entry.run.result) is not None
        ]
    if not said:
        return None
    if len(said) > 4 and not lineup.comparable:
        return f"{len(lineup)} runs of different primary metrics"
    name = f"{heading(lineup.metric)}: " if lineup.comparable else ""
    if len(said) > 4:
        (_, lowest, low), (_, highest, high) = min(said), max(said)
        return f"{name}{len(lineup)} runs reached {low} ({lowest}) to {high} ({highest})"
    (_, one, reached), *others = said
    return name + listed([f"{one} reached {reached}", *(f"{label} {value}" for _, label, value in others)])


def _named(lineup: Lineup, metric: Metric, said: str) -> str:
    """Return a result, with its metric's name unless the sentence begins with it."""
    return said if lineup.comparable else f"{metric.label} {said}"


def _spread(group: Group) -> str:
    mean = short(group.metric, group.mean)
    if group.deviation is None:
        return mean
    spread = deviation(group.metric, group.deviation, digits=1)
    return f"{mean} {PLUS_MINUS} {spread} over {len(group.results)} seeds"
