"""Published differences beside a study's own: whether what a paper found held here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tools.reporting import metrics
from tools.reporting.wording import NONE, PLUS_MINUS
from tools.studying.outcome import Comparison, Outcome
from tools.studying.sheets import Figure, Sheet, words


class Verdict(StrEnum):
    """A study's answer to a published difference."""

    HELD = "held"
    OPPOSITE = "opposite"
    UNDECIDED = "not decidable"
    FOUND = "found here only"
    NEITHER = "none in either"
    PENDING = "runs missing"


@dataclass(frozen=True, slots=True)
class Claim:
    """A published difference of two arms, and the study's own.

    Attributes
    ----------
    own
        The study's comparison.
    difference
        The published one, in the metric's unit: a fraction for a metric in percent.
    uncertainty
        Twice its standard error; None where the paper doesn't let it be known.
    """

    own: Comparison
    difference: float
    uncertainty: float | None

    @property
    def claimed(self) -> bool:
        """Whether the published difference exceeds twice its standard error, where that is known."""
        return abs(self.difference) > (self.uncertainty or 0.0)

    @property
    def verdict(self) -> Verdict:
        """Whether the study's test bears the published difference out."""
        own = self.own
        if not (own.result.complete and own.other.complete) or own.adjusted is None:
            return Verdict.PENDING
        if not own.significant:
            return Verdict.UNDECIDED if self.claimed else Verdict.NEITHER
        if not self.claimed:
            return Verdict.FOUND
        return Verdict.HELD if (own.mean or 0.0) * self.difference > 0 else Verdict.OPPOSITE


def claims(outcome: Outcome) -> list[Claim]:
    """Return the published differences that the study compares as well."""
    return list(_claims(outcome))


def _claims(outcome: Outcome) -> Iterator[Claim]:
    published, scale = outcome.study.published, metrics.scale(outcome.metric)
    if published is None:
        return
    for own in outcome.comparisons:
        one, other = published.of(own.result.arm), published.of(own.other.arm)
        if one is not None and other is not None:
            uncertainty = published.uncertainty(one, other)
            yield Claim(
                own, (one.mean - other.mean) / scale, None if uncertainty is None else uncertainty / scale
            )


def sheet(outcome: Outcome) -> Sheet:
    """Return the table of published differences: a pair of arms per row."""
    metric, study = outcome.metric, outcome.study
    unit = metrics.unit_of_difference(metric)
    rows = []
    for claim in claims(outcome):
        own = claim.own
        interval = own.interval
        printed = metrics.difference(metric, claim.difference, 0.0)
        if claim.uncertainty is not None:
            printed += f" {PLUS_MINUS} {metrics.deviation(metric, claim.uncertainty)}"
        rows.append(
            (
                *(words(own.result.arm.labels[axis.name]) for axis in study.axes),
                words(", ".join(own.baseline.values())),
                Figure(printed, claim.difference),
                Figure(metrics.difference(metric, own.mean, 0.0), own.mean, bold=own.significant),
                Figure(
                    NONE
                    if interval is None
                    else f"{metrics.difference(metric, interval.low, 0.0)} to "
                    f"{metrics.difference(metric, interval.high, 0.0)}",
                    None if interval is None else interval.low,
                ),
                words(claim.verdict.value),
            )
        )
    source = "" if study.published is None else study.published.source
    return Sheet(
        "claims",
        f"Published differences ({source}), with twice their standard error where runs and deviations are "
        "printed, and those found here. Held, opposite: significant here, in the same or the other "
        "direction. Not decidable: published, and not significant here at this n. None in either: within "
        "its own error there, not significant here.",
        (
            *(axis.name for axis in study.axes),
            "against",
            f"published, {unit}".removesuffix(", "),
            f"here, {unit}".removesuffix(", "),
            "interval",
            "verdict",
        ),
        tuple(rows),
        len(study.axes) + 1,
    )


def sentence(outcome: Outcome) -> str | None:
    """Return how many of the published differences held; None where nothing is published or tested."""
    found = Counter(claim.verdict for claim in claims(outcome))
    pending = found.pop(Verdict.PENDING, 0)
    if not found:
        return None
    many = sum(found.values())
    counts = ", ".join(f"{found[verdict]} {verdict.value}" for verdict in Verdict if found[verdict])
    rest = f" ({pending} more wait for runs)" if pending else ""
    source = outcome.study.published.source if outcome.study.published is not None else ""
    noun = "difference" if many == 1 else "differences"
    return f"Of {many} {noun} in {source}: {counts}{rest}."
