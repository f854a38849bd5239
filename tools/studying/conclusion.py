"""A study's answer in sentences, and the protocol that it kept to."""

from __future__ import annotations

from tools.reporting import metrics, wording
from tools.reporting.wording import listed, percent
from tools.studying import claims
from tools.studying import statistics as stats
from tools.studying.outcome import Comparison, Outcome, label
from tools.studying.records import command
from tools.studying.state import State
from trainer.settings import comparison

MOST_NAMED = 6
"""Differences that the answer names; the tables have all."""


def conclusion(outcome: Outcome) -> list[str]:
    """Return what was found in sentences: significant differences, or the smallest that would have shown."""
    if not outcome.runs:
        return [f"None of {outcome.planned} runs has finished yet."]
    said = []
    if outcome.ended < outcome.planned:
        said.append(f"Provisional: {outcome.ended} of {outcome.planned} runs have ended.")
    tested = outcome.tested
    if not outcome.comparisons:
        return [*said, _best(outcome)]
    if not tested:
        return [*said, _best(outcome), "Nothing can be tested yet: a comparison takes two pairs of runs."]
    significant = sorted((one for one in tested if one.significant), key=lambda one: one.adjusted or 0.0)
    pairs = min(len(one.differences) for one in tested)
    several = "s" if outcome.family > 1 else ""
    of = f"{outcome.family} comparison{several} at n = {pairs} pairs or more"
    if significant:
        named = [_sentence(outcome, one) for one in significant[:MOST_NAMED]]
        more = len(significant) - MOST_NAMED
        rest = f"; and {more} more" if more > 0 else ""
        said.append(f"Significant among {of}, after Holm's correction: {'; '.join(named)}{rest}.")
    else:
        said.append(f"No difference is significant among {of}, after Holm's correction.")
    said.append(_detectable(outcome, pairs))
    if (held := claims.sentence(outcome)) is not None:
        said.append(held)
    diverged = [
        f"{label(outcome.study, one.arm, outcome.arms)} ({len(one.diverged)})"
        for one in outcome.arms
        if one.diverged
    ]
    if diverged:
        said.append(f"Runs diverged, and their arms are not tested: {listed(diverged)}.")
    return said


def _best(outcome: Outcome) -> str:
    known = [(one.mean, one) for one in outcome.arms if one.mean is not None]
    chosen = max if outcome.metric.higher_is_better else min
    mean, best = chosen(known, key=lambda pair: pair[0])
    name = label(outcome.study, best.arm, outcome.arms)
    return (
        f"Best mean {outcome.metric.label} of {len(known)} arms: {metrics.exact(outcome.metric, mean)} "
        f"({name}, n = {len(best.results)})."
    )


def _sentence(outcome: Outcome, one: Comparison) -> str:
    unit = metrics.unit_of_difference(outcome.metric)
    difference = metrics.difference(outcome.metric, one.mean, 0.0)
    name = label(outcome.study, one.result.arm, outcome.arms)
    said = f"{name} {difference} {unit}".rstrip() + f" against {', '.join(one.baseline.values())}"
    compute = one.ratio("compute")
    cost = "" if compute is None or one.matched("compute") else f", at {compute:.2f} times the compute"
    return f"{said} (n = {len(one.differences)}, adjusted p = {one.adjusted:.2g}{cost})"


def _detectable(outcome: Outcome, pairs: int) -> str:
    if outcome.study.test == "sign_flip":
        least = 2.0 ** (1 - pairs)
        able = "can" if least * outcome.family < stats.ALPHA else "can't"
        return (
            f"With {pairs} pairs the exact test's least p-value is {least:.2g}: after correction for "
            f"{outcome.family} comparisons it {able} be significant."
        )
    single, strict = outcome.detectable(corrected=False), outcome.detectable(corrected=True)
    if single is None or strict is None:
        return "The smallest detectable difference isn't known: differences have no spread yet."
    unit = metrics.unit_of_difference(outcome.metric)
    one, other = (metrics.deviation(outcome.metric, value) for value in (single, strict))
    return (
        f"Smallest detectable difference at n = {pairs} (power {percent(stats.POWER, 0)}, two-sided alpha "
        f"{stats.ALPHA:g}, standard deviation of paired differences pooled): {one} {unit}".rstrip()
        + f" for one comparison, {other} {unit}".rstrip()
        + f" for {outcome.family} by the correction's first step."
    )


def protocol(outcome: Outcome, state: State) -> list[str]:
    """Return what was fixed and kept, and the commands that repeat the study, a sentence each."""
    study = outcome.study
    some = next(iter(outcome.arms[0].cells.values()))
    counts = {cell.run.counts for result in outcome.arms for cell in result.cells.values()}
    said = [
        f"n = {len(study.seeds)} runs per arm, seeds {listed([str(seed) for seed in study.seeds])}, fixed "
        f"before the first run ({state.begun}); no run was thrown away, and runs that diverged are counted.",
        f"The study's file has sha256 {study.digest[:12]}"
        + (
            "." if study.digest == state.definition else f"; it had {state.definition[:12]} at the first run."
        ),
        "Results are of the last round, on the test set, and never the best of several rounds; the metric "
        f"is {outcome.metric.label}, {metrics.direction(outcome.metric)}.",
        "Scoring and proxies are charged to the budget."
        if counts == {"compute"}
        else "The budget counts samples trained; the tables have what scoring cost beside them."
        if counts == {"trained"}
        else "Some arms' budgets count samples trained, others' all compute: see the runs.",
        "Times leave out the fastest and the slowest of three runs or more.",
    ]
    if study.choose is None:
        said.append("Nothing was chosen by trials: all arms have the recipe's settings and those listed.")
    else:
        said.append(
            f"{study.choose.trials} trials per {' and '.join(study.choose.per)} on held-out training samples "
            "chose settings; the table of choices has all of them."
        )
    finished = sum(seconds for run in outcome.runs if (seconds := run.number("wall_seconds")) is not None)
    said += [
        f"The runs took {wording.duration(finished)} of wall-clock in all, evaluations included.",
        f"Tables and page again from the runs: trainer study {study.typed} --tables",
        f"The whole study again: {command(outcome)}",
        f"One run again, as an example: {command(outcome, [some])} (settings of digest "
        f"{comparison.digest(some.run)[:12]})",
    ]
    return said
