"""Budgets in hours: an account whose unit is the second, as a clock counts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from trainer.account import Account
from trainer.errors import RunError
from trainer.parallel import World

Clock = Literal["training", "wall"]

MOST_ROUNDS = 10**9
"""Rounds planned for a run whose number of rounds only time tells: more than any can make."""

HORIZON = 10
"""Steps over which the price of a step is averaged."""

_PHASES = ("evaluate", "checkpoint")


@dataclass(slots=True)
class TimedAccount(Account):
    """An account of a budget in hours: ``total`` is its seconds, and costs are seconds, too.

    What a step or a scoring pass takes is predicted: its compute, at the seconds per unit of compute of the
    latest steps. Before each step `look` reads the clock. From there to the next look spending grows by what
    is predicted, so within a step everything that depends on progress sees one value, the same on every rank,
    and the step at the schedule's end is the one after which no other is affordable.

    Attributes
    ----------
    clock
        "training" excludes evaluations and checkpoints; "wall" includes them, and keeps enough for the last.
    interval
        Steps between two looks, each of which waits for the device and for rank 0's clock; near the end there
        is one before every step.
    most_samples
        Samples in the orders that are planned, beyond what any run trains on.
    device, world
        What a look waits for, and who share its result.
    price
        Predicted seconds per unit of compute.
    last
        Seconds of the latest evaluation and of the latest checkpoint, by phase.
    pace
        ``price`` at the latest evaluation: where a machine has slowed down since, the next one takes longer.
    """

    clock: Clock = "training"
    interval: int = 1
    most_samples: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    world: World = field(default_factory=World)
    price: float = 0.0
    last: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_PHASES, 0.0))
    pace: float = 0.0
    _seconds: float = 0.0
    _compute: float = field(init=False)
    _read: tuple[float, float, float] | None = None
    _looked: int = 0
    _steps: int = 0

    def __post_init__(self) -> None:
        self._compute = self.compute

    # --- The clock ---------------------------------------------------------------------------------------

    def begin(self, step_seconds: float, evaluation_seconds: float) -> None:
        """Take in what a step and an evaluation took in the warm-up, until the clock has been read."""
        self.last["evaluate"] = evaluation_seconds
        if not self.ledger.steps:
            self.price = self.pace = step_seconds / self.batch_size

    def look(self) -> None:
        """Read the clock if it is due, and learn from it what steps, evaluations and checkpoints take."""
        steps = self.ledger.steps - self._looked
        near = self._limit - self.spent < 2 * self.interval * self.price * self.batch_size
        if self._read is not None and steps < self.interval and not near:
            return
        if self.device.type == "cuda":
            self.ledger.settle()
        seconds = self.ledger.seconds
        shared = self.world.agree(
            dict(enumerate((self.ledger.train_seconds, *(seconds[phase] for phase in _PHASES))))
        )
        read = shared[0], shared[1], shared[2]
        if self._read is not None:
            self._learn(steps, *(now - before for now, before in zip(read, self._read, strict=True)))
        self._read, self._looked, self._compute = read, self.ledger.steps, self.compute
        self._seconds = read[0] if self.clock == "training" else sum(read)

    def _learn(self, steps: int, training: float, *phases: float) -> None:
        """Update the predictions by the seconds since the last look."""
        made = self.compute - self._compute
        if steps and made > 0:
            self._steps += steps
            # The first measurement replaces the warm-up's.
            weight = steps / min(self._steps, steps + HORIZON)
            self.price += weight * (training / made - self.price)
            if self._steps == steps:
                self.pace = self.price
        for phase, taken in zip(_PHASES, phases, strict=True):
            if taken > 0:
                self.last[phase] = taken
                self.pace = self.price if phase == "evaluate" else self.pace

    def check_round(self, samples: int, pixels: int) -> None:
        """Check, before the first step, that the hours hold a round.

        Raises
        ------
        RunError
            When a round of ``samples`` at this image size takes longer, by the warm-up's measurement.
        """
        needed = samples / self.batch_size * self.step_cost(pixels) + self._reserve
        if self.ledger.steps or needed <= self.total:
            return
        raise RunError(
            f"budget_hours must hold a round of {samples:,} samples, about {needed / 3600:.2g} hours here; "
            f"got {self.total / 3600:g}: raise it, or shorten rounds by --round-length, a part of an epoch"
        )

    # --- Costs -------------------------------------------------------------------------------------------

    def step_cost(self, pixels: int) -> float:
        """Return the predicted seconds of a step at this resolution, without scoring."""
        return self.price * self.batch_size * self.costs.train[pixels]

    def pass_cost(self, kind: Literal["scored", "gradient"], samples: int, pixels: int) -> float:
        """Return the predicted seconds of passes over ``samples`` that are not trained on."""
        cost = self.costs.gradient if kind == "gradient" else self.ledger.score_costs[pixels]
        return self.price * samples * cost

    # --- Spending ----------------------------------------------------------------------------------------

    @property
    def before(self) -> int:
        """Cost charged for training before the run: none, as other runs have clocks of their own."""
        return 0

    @property
    def spent(self) -> float:
        """Seconds at the last look, and those predicted for the steps since."""
        return self._seconds + self.price * (self.compute - self._compute)

    @property
    def _reserve(self) -> float:
        """Seconds kept for the last evaluation and checkpoint."""
        return 0.0 if self.clock == "training" else self._evaluation + self.last["checkpoint"]

    @property
    def _evaluation(self) -> float:
        """Predicted seconds of an evaluation: those of the latest, on the machine as fast as it is now."""
        return self.last["evaluate"] * (self.price / self.pace if self.pace > 0 else 1.0)

    @property
    def _limit(self) -> float:
        return (self.total - self._reserve) * (1 + 1e-12)

    def affords_evaluation(self, cost: float) -> bool:
        """Return whether an evaluation leaves time for a step, and for an evaluation after it."""
        return self.clock == "training" or self.affords(self._evaluation + cost)

    # --- Progress ----------------------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """Fraction of the run's time spent, in [0, 1]."""
        return min(1.0, self.spent / self._limit) if self._limit > 0 else 1.0

    @property
    def covered(self) -> float:
        """Fraction of the planned samples trained on: rounds are as long as those of a budget of samples."""
        return self.ledger.trained / self.most_samples

    @property
    def most_steps(self) -> int:
        """Steps that are planned, beyond what any run makes."""
        return self.most_samples // self.batch_size

    # --- Records -----------------------------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        """Return the current costs, counts and times, as in ledger.json; ``spent`` by the clock."""
        found = Account.summary(self)
        clock = "train_seconds" if self.clock == "training" else "wall_seconds"
        return {**found, "spent": found[clock]}

    def state_dict(self) -> dict[str, float]:
        """Return what is predicted, for a checkpoint."""
        return {"spent": self.spent, "price": self.price, "pace": self.pace, **self.last}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore what was predicted; the next look reads the clock, which goes on from the ledger's."""
        self._seconds, self.price = state["spent"], state["price"]
        # Earlier versions had no pace.
        self.pace = state.get("pace", self.price)
        self.last = {phase: state[phase] for phase in _PHASES}
        self._compute, self._read, self._looked = self.compute, None, self.ledger.steps
