"""Account of a run: its ledger of counts and times, its budget, and the progress that they come to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from pipeline.clock import PhaseTimes
from pipeline.device import timer
from trainer.budget.costs import Costs, by_size
from trainer.settings.former import phases_now

Counts = Literal["trained", "compute"]
Charge = Literal["trained", "scored", "gradient"]

PHASES = (
    "wait",
    "copy",
    "augment",
    "score",
    "forward",
    "backward",
    "optimize",
    "feedback",
    "sampler",
    "evaluate",
    "checkpoint",
)
"""Phases in their order within a step; the last two are outside the training clock."""

_ON_DEVICE = ("augment", "score", "forward", "backward", "optimize")
_COUNTS = ("forwarded", "gradients", "evaluated", "steps", "rounds")
_BY_PIXELS = ("trained_at", "scored_at", "score_costs")


class Ledger(PhaseTimes):
    """Counts and times of one run.

    Attributes
    ----------
    trained_at, scored_at
        Number of samples, keyed by image size.
    score_costs
        Measured cost of scoring a sample relative to training on one at full resolution, keyed by image size.
    forwarded
        Number of samples of further streams used by steps.
    gradients
        Samples whose whole gradient was measured without training, at full resolution.
    evaluated, steps, rounds
        Counts.
    compile_seconds
        Seconds of warm-up and compilation, outside the training clock.
    """

    def __init__(self, device: torch.device) -> None:
        cuda = timer if device.type == "cuda" else None
        super().__init__(PHASES, on_device=_ON_DEVICE, off_the_clock=PHASES[-2:], copies="copy", timer=cuda)
        self.trained_at: dict[int, int] = {}
        self.scored_at: dict[int, int] = {}
        self.score_costs: dict[int, float] = {}
        self.forwarded = 0
        self.gradients = 0
        self.evaluated = 0
        self.steps = 0
        self.rounds = 0
        self.compile_seconds = 0.0

    @property
    def trained(self) -> int:
        """Samples trained, at all resolutions."""
        return sum(self.trained_at.values())

    @property
    def scored(self) -> int:
        """Samples scored, at all resolutions."""
        return sum(self.scored_at.values())

    @property
    def stall(self) -> float:
        """Return the fraction of the training clock in which the device idled for want of data."""
        return self.seconds["wait"] / self.train_seconds if self.train_seconds > 0 else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the counts and times so far, for a checkpoint."""
        self.settle()
        return {
            **{name: by_size(getattr(self, name)) for name in _BY_PIXELS},
            **{name: getattr(self, name) for name in _COUNTS},
            "compile_seconds": self.compile_seconds,
            "wall_seconds": self.wall_seconds,
            "phases": dict(self.seconds),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint's counts and times."""
        for name in _BY_PIXELS:
            setattr(self, name, {int(pixels): value for pixels, value in state[name].items()})
        for name in (*_COUNTS, "compile_seconds"):
            setattr(self, name, state[name])
        self.seconds = phases_now(state["phases"])
        self._wall_before = state["wall_seconds"]
        self.start_clock()


@dataclass(slots=True)
class Account:
    """A run's budget and its ledger: the only place where cost, spending and progress are computed.

    The unit is the cost of training on one sample: its part of a step at full resolution. A full training
    costs T * N units. ``trained`` counts samples trained, whatever their resolution, and ignores the cost of
    scoring, as the papers do (Arazo et al. 2021, section 3). ``compute`` charges every pass: training at
    another resolution by the FLOPs of a step there, scoring by its cost measured on this device, and samples
    that a selection's model was trained on before the run. ``hours`` is that of
    `trainer.budget.hours.TimedAccount`.

    Attributes
    ----------
    total
        round(T * N * B), the budget.
    full
        round(T * N), the cost of a full training.
    batch_size
        Samples per step, over all ranks.
    counts
        Which costs are charged.
    costs
        What passes cost.
    ledger
        The run's counts and times.
    """

    total: float
    full: int
    batch_size: int
    counts: Counts | Literal["hours"]
    costs: Costs
    ledger: Ledger = field(default_factory=lambda: Ledger(torch.device("cpu")))

    def __repr__(self) -> str:
        unit = "seconds" if self.counts == "hours" else f"samples of {self.counts}"
        return (
            f"Account({self.spent:,.0f} of {self.total:,} {unit}, {self.progress:.1%}; "
            f"{self.ledger.trained:,} trained, {self.ledger.scored:,} scored, {self.ledger.steps:,} steps)"
        )

    def charge(self, kind: Charge, samples: int, pixels: int) -> None:
        """Count samples of image size ``pixels`` by the passes made.

        ``trained``: forward and backward for a step; ``scored``: forward only; ``gradient``: the whole
        gradient was measured without training, at full resolution.
        """
        if kind == "gradient":
            self.ledger.gradients += samples
            return
        counts = self.ledger.trained_at if kind == "trained" else self.ledger.scored_at
        counts[pixels] = counts.get(pixels, 0) + samples

    # --- Costs -------------------------------------------------------------------------------------------

    def step_cost(self, pixels: int) -> float:
        """Return the cost of a step at this resolution, without scoring."""
        return self.batch_size * (1.0 if self.counts == "trained" else self.costs.train[pixels])

    def pass_cost(self, kind: Literal["scored", "gradient"], samples: int, pixels: int) -> float:
        """Return the cost of passes over ``samples`` that are not trained on.

        Raises
        ------
        KeyError
            If the cost of scoring at ``pixels`` was never measured.
        """
        if self.counts == "trained":
            return 0.0
        return samples * (self.costs.gradient if kind == "gradient" else self.ledger.score_costs[pixels])

    @property
    def score_cost(self) -> float | None:
        """Cost of scoring relative to training, at the size most scored at; None if not measured."""
        ledger = self.ledger
        known = {pixels: ledger.scored_at.get(pixels, 0) for pixels in ledger.score_costs}
        return ledger.score_costs[max(known, key=lambda pixels: known[pixels])] if known else None

    # --- Spending ----------------------------------------------------------------------------------------

    @property
    def before(self) -> int:
        """Cost charged for training before the run, as this budget counts."""
        return 0 if self.counts == "trained" else self.costs.charged

    @property
    def spent(self) -> float:
        """Cost so far, as this budget counts."""
        return self.ledger.trained if self.counts == "trained" else self.compute

    @property
    def compute(self) -> float:
        """Total compute so far; scoring whose cost wasn't measured is counted by its FLOPs."""
        return self._unscored + self.costs.scored(self.ledger.scored_at, self.ledger.score_costs)

    @property
    def forward_passes(self) -> float:
        """Total compute so far by FLOPs, in units of one sample's forward pass at full resolution.

        Unlike `compute`, this doesn't depend on measured times.
        """
        return self.costs.forward_passes(self._unscored, self.ledger.scored_at)

    @property
    def _unscored(self) -> float:
        """Compute so far of all passes that aren't of scoring."""
        costs, ledger = self.costs, self.ledger
        return costs.charged + costs.trained(ledger.trained_at) + ledger.gradients * costs.gradient

    def affords(self, cost: float) -> bool:
        """Return whether ``cost`` more stays within the budget."""
        # The counts are integers; sums of their costs may have rounding errors.
        return self.spent + cost <= self._limit

    @property
    def _limit(self) -> float:
        return self.total * (1 + 1e-12)

    def affords_evaluation(self, cost: float) -> bool:
        """Return whether an evaluation leaves the budget of a step: it is outside of the budget."""
        return True

    # --- Time, of budgets in hours -----------------------------------------------------------------------

    def look(self) -> None:
        """Bring spending up to date before a step; no-op where it is counted, not timed."""

    def state_dict(self) -> dict[str, float]:
        """Return state beyond the ledger's, for a checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore a checkpoint's state, after the ledger's."""

    # --- Progress ----------------------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """Fraction of the run's budget spent, in [0, 1]; if it counts samples, 1 after the last batch."""
        total = self.total // self.batch_size * self.batch_size if self.counts == "trained" else self.total
        return min(1.0, (self.spent - self.before) / (total - self.before))

    @property
    def covered(self) -> float:
        """Fraction of the run's rounds that is behind it."""
        return self.progress

    @property
    def reported_progress(self) -> float | None:
        """Fraction of the budget spent, for samplers whose own count would be wrong; None if it is right."""
        return None if self.counts == "trained" else self.progress

    @property
    def steps(self) -> int | None:
        """Number of steps in the whole run; None if unknown beforehand, as when the budget counts compute."""
        return int(self.total) // self.batch_size if self.counts == "trained" else None

    @property
    def most_steps(self) -> int:
        """Steps of the whole run at the most: were all of them as cheap as the cheapest."""
        return math.ceil(self.total / min(self.step_cost(pixels) for pixels in self.costs.train))

    def schedule_progress(self, cost: float, scoring: float = 0.0, scored: bool = False) -> float:
        """Progress of the learning rate at a step: 0 at the first or only one, exactly 1 at the last.

        Parameters
        ----------
        cost
            Cost of the next step, without scoring.
        scoring
            Cost of scoring before each step, while that is affordable. The last step is the one after which
            no other is affordable.
        scored
            Whether scoring was charged for this step.
        """
        spent = self.spent
        before = spent - self.before - scoring * scored
        if before <= 1e-12 * self.total:
            return 0.0
        left = self._limit - spent - cost
        selected = max(0.0, left // (cost + scoring)) * (cost + scoring)
        # The rest that is too little for scoring is spent on steps without.
        after = selected + max(0.0, (left - selected) // cost) * cost
        return before / (before + after)

    def summary(self) -> dict[str, Any]:
        """Return the current costs, counts and times, as in ledger.json."""
        counted = self.ledger.state_dict()
        clock = self.ledger.on_the_clock(counted["wall_seconds"])
        return {
            "planned": self.total,
            "full_budget_samples": self.full,
            "spent": self.spent,
            "compute": self.compute,
            **self.costs.table(),
            **counted,
            "trained": self.ledger.trained,
            "scored": self.ledger.scored,
            "train_seconds": clock,
            "stall": counted["phases"]["wait"] / clock,
            "score_cost": self.score_cost,
            "flops": self.costs.forward_flops * self.forward_passes,
        }
