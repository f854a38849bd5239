"""A run in a report: the contents of its folder, and derived figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.metrics import Metric
from trainer.settings.former import phases_now

Basis = Literal["measured", "counted", "assumed"]
"""How a cost is known: timed on the device, by FLOPs of the method's step, or not at all."""

ASSUMED = 1 / 3
"""Scoring by training a sample in FLOPs, for ledgers of versions in which every method was supervised."""


@dataclass(frozen=True, slots=True)
class Series:
    """Lines of a .jsonl file as columns.

    Attributes
    ----------
    columns
        float64[n] each, nan where a line has no such number.
    """

    columns: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self.columns[name]

    def last(self, name: str) -> float | None:
        """Return the last line's number; None if there is none."""
        return number(float(self[name][-1])) if len(self) else None


@dataclass(frozen=True, slots=True)
class Samples:
    """Per-sample statistics of training, one entry per sample.

    Attributes
    ----------
    label, times_seen
        int64[n].
    mean_probability
        float64[n], probability given to the true class, nan for samples never seen.
    classes
        Names of the classes if the run recorded them.
    weight
        float64[n], the w of epoch E that sample_importance took, nan for none; None in older tables.
    image, copy
        int64[n], of a multiplied data set: the id of the image in it, and which copy; None in others.
    """

    label: NDArray[np.int64]
    times_seen: NDArray[np.int64]
    mean_probability: NDArray[np.float64]
    classes: tuple[str, ...] | None
    weight: NDArray[np.float64] | None = None
    image: NDArray[np.int64] | None = None
    copy: NDArray[np.int64] | None = None

    def class_name(self, label: int) -> str:
        """Return the class's name, or its number if the run recorded no names."""
        if self.classes is not None and 0 <= label < len(self.classes):
            return self.classes[label]
        return f"class {label}"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run folder. Contents that couldn't be read are empty or None, and listed in ``faults``.

    Attributes
    ----------
    path
        The folder.
    recipe, environment, ledger
        Contents of run.toml, environment.json and ledger.json.
    metrics
        The metrics of its evaluators, the primary one first.
    steps, evaluations
        Lines of the .jsonl files.
    measured
        Values of the metrics, by name, in the lines of ``evaluations``.
    samples
        Rows of samples.parquet.
    faults
        Missing or damaged files, as parts of a sentence.
    """

    path: Path
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    ledger: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    steps: Series
    evaluations: Series
    measured: Series
    samples: Samples | None
    faults: tuple[str, ...]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def finished(self) -> bool:
        """Whether the run spent its budget, by its ledger."""
        return self.ledger.get("finished") is True

    @property
    def metric(self) -> Metric:
        """The primary metric."""
        return self.metrics[0]

    @property
    def evaluated(self) -> str:
        """Words about the weights that were evaluated, "" where they are those that were trained."""
        decay = number(self.recipe.get("ema"))
        return "" if decay is None else f" of averaged weights (decay {decay:g})"

    @property
    def results(self) -> NDArray[np.float64]:
        """The primary metric at each evaluation, float64[n]; nan where it wasn't recorded."""
        return self.measured[self.metric.name]

    @property
    def result(self) -> float | None:
        """The primary metric at the last evaluation."""
        return self.measured.last(self.metric.name)

    @property
    def collapsed(self) -> tuple[Metric, float] | None:
        """The first metric whose last value shows that training has collapsed, and that value; else None."""
        for metric in self.metrics:
            value = self.measured.last(metric.name)
            if value is not None and metric.collapsed(value):
                return metric, value
        return None

    @property
    def phases(self) -> dict[str, float]:
        """Seconds per phase, in the ledger's order."""
        phases = self.ledger.get("phases")
        if not isinstance(phases, Mapping):
            return {}
        known = {str(name): number(seconds) for name, seconds in phases_now(phases).items()}
        return {name: seconds for name, seconds in known.items() if seconds is not None}

    def number(self, key: str) -> float | None:
        """Return a number of the ledger; trained, steps and seconds default to the last logged step."""
        value = number(self.ledger.get(key))
        if value is not None:
            return value
        if key in ("budget", "budget_hours"):
            return number(self.recipe.get(key))
        logged = {"trained": "samples", "train_seconds": "seconds", "steps": "step"}
        return self.steps.last(logged[key]) if key in logged else None

    @property
    def rate(self) -> float | None:
        """Trained samples per second of the training clock."""
        trained, seconds = self.number("trained"), self.number("train_seconds")
        return trained / seconds if trained is not None and seconds else None

    @property
    def counts(self) -> str:
        """The unit of the run's budget: "trained", "compute" or "hours"."""
        kept = "hours" if self.number("budget_hours") is not None else self.recipe["counts"]
        return str(self.ledger.get("counts", kept))

    @property
    def compute(self) -> float | None:
        """Compute spent, in samples trained at full resolution; computed from the counts of older ledgers."""
        known = self.number("compute")
        if known is not None or "counts" in self.ledger:
            return known
        trained, scoring = self.number("trained"), self.scoring
        return None if trained is None or scoring is None else trained + scoring

    @property
    def scoring(self) -> float | None:
        """Compute of scoring passes, in samples trained at full resolution."""
        at, costs = self.by_pixels("scored_at"), self.by_pixels("score_costs")
        if at:
            # As the run's own account does: a pass that wasn't measured is charged by its FLOPs.
            counted = {pixels: self._counted_cost(pixels) or ASSUMED for pixels in at}
            return sum(count * costs.get(pixels, counted[pixels]) for pixels, count in at.items())
        scored, cost = self.number("scored"), self.number("score_cost")
        if scored is None or (scored and cost is None):
            return None
        return scored * (cost or 0.0)

    @property
    def score_cost(self) -> tuple[float, Basis]:
        """Cost of scoring a sample at the size most scored at, in training steps, and how it is known."""
        measured = self.number("score_cost")
        if measured is not None:
            return measured, "measured"
        at = self.by_pixels("scored_at")
        counted = self._counted_cost(max(at, key=lambda pixels: at[pixels])) if at else None
        return (ASSUMED, "assumed") if counted is None else (counted, "counted")

    def _counted_cost(self, pixels: int) -> float | None:
        """FLOPs of a forward pass by those of a training step at full size; None in ledgers without them."""
        forward, step = self.number("forward_flops"), self.number("step_flops")
        if forward is None or not step:
            return None
        sizes = self.by_pixels("forward_costs") or self.by_pixels("train_costs")
        return sizes.get(pixels, 1.0) * forward / step

    @property
    def scoring_fraction(self) -> float | None:
        """Fraction of the compute that was spent on scoring."""
        scoring, compute = self.scoring, self.compute
        return None if scoring is None or not compute else scoring / compute

    def fraction_of_full(self, samples: float | None) -> float | None:
        """Return a number of samples relative to the full training's."""
        full = self.number("full_budget_samples")
        return samples / full if samples is not None and full else None

    def by_pixels(self, key: str) -> dict[int, float]:
        """Return numbers of the ledger that are keyed by image size."""
        known = self.ledger.get(key)
        if not isinstance(known, Mapping):
            return {}
        numbers = {int(pixels): number(value) for pixels, value in known.items() if str(pixels).isdecimal()}
        return {pixels: value for pixels, value in numbers.items() if value is not None}


def number(value: object) -> float | None:
    """Return the number in a file; None if it isn't a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
