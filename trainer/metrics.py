"""Metrics: quantities measured by evaluators, a run's primary one, and their description in run folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from trainer.errors import RunError

Evaluation = Mapping[str, float]
"""The metrics of one evaluation: values by name, in the order in which the evaluators yielded them."""

PERCENT = "%"
"""Unit of fractions, which are shown in percent."""

_LONGEST = 100
"""Maximum length of a metric's label or unit, which appear in headings and on axes."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that an evaluator measures.

    Attributes
    ----------
    name
        Key in evaluations.jsonl, an identifier.
    label
        Its name in reports, within a sentence: "accuracy".
    higher_is_better
        Whether higher values are better.
    unit
        "%" for fractions in [0, 1], which are shown in percent; of other numbers their unit, such as "nats",
        or "" where they have none.
    part_of
        Name of the metric that this one is a part of, such as the accuracy of some classes; else None.
    collapsed_below
        Value below which training has collapsed, whatever the other metrics are; None where there is none.

    Raises
    ------
    RunError
        When it can't be shown: a name that is no identifier, or a label or unit that isn't printable.
    """

    name: str
    label: str = field(compare=False)
    higher_is_better: bool
    unit: str = ""
    part_of: str | None = None
    collapsed_below: float | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name.isidentifier() and self.name.isascii()):
            raise RunError(f"a metric's name must be an ASCII identifier; got {self.name!r}")
        for text in (self.label, self.unit):
            if not isinstance(text, str) or not text.isprintable() or len(text) > _LONGEST:
                raise RunError(
                    f"label and unit of metric {self.name} must be printable, of at most {_LONGEST} "
                    f"characters; got {text!r}"
                )
        if not self.label or not isinstance(self.higher_is_better, bool):
            raise RunError(f"metric {self.name} must have a label and a direction")

    @property
    def percent(self) -> bool:
        """Whether its values are fractions, shown in percent."""
        return self.unit == PERCENT

    def collapsed(self, value: float) -> bool:
        """Whether ``value`` shows that training has collapsed."""
        return self.collapsed_below is not None and value < self.collapsed_below

    def reaches(self, value: float, target: float) -> bool:
        """Whether ``value`` is as good as ``target`` or better."""
        return value >= target if self.higher_is_better else value <= target


class Measuring(Protocol):
    """An object with metrics: the config of an evaluator, or of a method."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that it measures; the first is its primary metric."""


def metrics_of(
    evaluators: Sequence[Measuring], primary: str | None = None, method: Measuring | None = None
) -> tuple[Metric, ...]:
    """Return the metrics of all evaluators and of a method, the run's primary metric first.

    Parameters
    ----------
    primary
        Name of the primary metric; None means the first evaluator's.

    Raises
    ------
    RunError
        When there is no evaluator, two of them measure a metric of one name, or none measures ``primary``.
    """
    if not evaluators:
        raise RunError('evaluator must name a part; got []: "classification" is the default')
    known: dict[str, Metric] = {}
    for measuring in (*evaluators, *(() if method is None else (method,))):
        for metric in measuring.metrics:
            if metric.name in known:
                raise RunError(
                    f"evaluators must measure metrics of different names; two measure {metric.name}: leave "
                    "one of them out"
                )
            known[metric.name] = metric
    if primary is None:
        return tuple(known.values())
    if primary not in known:
        raise RunError(
            f"primary_metric must be one that the run's evaluators measure, {', '.join(known)}; "
            f"got {primary!r}"
        )
    return first(known[primary], tuple(known.values()))


def first(primary: Metric, metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Return ``metrics`` with the primary one first."""
    return (primary, *(metric for metric in metrics if metric != primary))


def to_list(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Return the description of metrics for environment.json, the primary one first."""
    return [{key: value for key, value in asdict(metric).items() if value is not None} for metric in metrics]


def from_list(described: object) -> tuple[Metric, ...] | None:
    """Return metrics from their description in environment.json; None if it isn't one."""
    if not isinstance(described, list) or not described:
        return None
    try:
        metrics = tuple(Metric(**entry) for entry in described)
    except (RunError, TypeError):
        return None
    return metrics if len({metric.name for metric in metrics}) == len(metrics) else None
