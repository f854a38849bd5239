"""What a run may cost, what it has cost so far, and how far that brings its schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainer.ledger import Ledger

Counts = Literal["trained", "compute"]


@dataclass(frozen=True, slots=True)
class Budget:
    """A run's budget, and the accounts that the ledger's counts make against it.

    The unit is the training step's share of one sample: its forward and backward pass at full resolution. A
    full training costs T * N of them. ``trained`` counts samples trained, whatever their resolution, and
    takes scoring as free, as the papers do (Arazo et al. 2021, section 3). ``compute`` charges every pass:
    training at another resolution by the network's FLOPs there, scoring by what it was measured to cost on
    this device, and samples that a selection needed to be trained on before the run.

    Attributes
    ----------
    total
        round(T * N * B), what may be spent.
    full
        round(T * N), what a full training costs.
    batch_size
        Samples a step, over all ranks.
    counts
        What is charged.
    train_costs
        Of a sample, by the pixels of its shorter side, those of scoring among them; 1 at full resolution.
    charged
        Samples trained on before the run.
    """

    total: int
    full: int
    batch_size: int
    counts: Counts
    train_costs: Mapping[int, float]
    charged: int = 0

    @property
    def before(self) -> int:
        """What was spent before the run, as this budget counts."""
        return 0 if self.counts == "trained" else self.charged

    def spent(self, ledger: Ledger) -> float:
        """What the run has cost, as this budget counts."""
        return ledger.trained if self.counts == "trained" else self.compute(ledger)

    def compute(self, ledger: Ledger) -> float:
        """Everything that the run has computed; scoring whose cost wasn't measured counts as 1/3.

        A gradient counts as training on its sample does, which it takes the same passes as.
        """
        trained = sum(count * self.train_costs[pixels] for pixels, count in ledger.trained_at.items())
        scored = sum(
            count * ledger.score_costs.get(pixels, self.train_costs.get(pixels, 1.0) / 3)
            for pixels, count in ledger.scored_at.items()
        )
        return self.charged + trained + ledger.gradients + scored

    def forward_passes(self, ledger: Ledger) -> float:
        """All that was computed, by the network's FLOPs, in forward passes of a sample at full resolution.

        A training step is three of them; unlike in `compute`, nothing that was measured bears on it.
        """
        trained = sum(count * self.train_costs[pixels] for pixels, count in ledger.trained_at.items())
        scored = sum(count * self.train_costs[pixels] for pixels, count in ledger.scored_at.items())
        return 3 * (self.charged + trained + ledger.gradients) + scored

    def step_cost(self, pixels: int) -> float:
        """What a step at this resolution is charged, without scoring."""
        return self.batch_size * (1.0 if self.counts == "trained" else self.train_costs[pixels])

    def affords(self, ledger: Ledger, cost: float) -> bool:
        """Whether ``cost`` more stays within the budget."""
        # The counts are whole numbers; sums of their costs may be off by rounding.
        return self.spent(ledger) + cost <= self.total * (1 + 1e-12)

    def progress(self, ledger: Ledger) -> float:
        """Share of the run's own budget that is spent, in [0, 1]; of samples, 1 after the last batch."""
        total = self.total // self.batch_size * self.batch_size if self.counts == "trained" else self.total
        return min(1.0, (self.spent(ledger) - self.before) / (total - self.before))

    def schedule_progress(
        self, ledger: Ledger, cost: float, scoring: float = 0.0, scored: bool = False
    ) -> float:
        """Progress of the learning rate at a step: 0 at the first or only one, exactly 1 at the last.

        Parameters
        ----------
        cost
            Of the step to come, without scoring.
        scoring
            What scoring before a step will be charged, while that is affordable. The last step is the one
            after which no other is.
        scored
            Whether so much was charged for this very step.
        """
        spent = self.spent(ledger)
        before = spent - self.before - scoring * scored
        if before <= 1e-12 * self.total:
            return 0.0
        left = self.total * (1 + 1e-12) - spent - cost
        selected = max(0.0, left // (cost + scoring)) * (cost + scoring)
        # What affords no more scoring is spent on steps without.
        after = selected + max(0.0, (left - selected) // cost) * cost
        return before / (before + after)


def candidates_needed(
    budget: Budget, round_size: int, ratio: float, exact: bool, pixels_at: Callable[[float], int]
) -> int:
    """Most samples that orders may have to hold until a budget is spent.

    Where selecting costs nothing, every trained sample takes ``ratio`` of them; a selection that keeps by
    chance may need more. A round keeps the resolution that it begins with.

    Parameters
    ----------
    round_size
        Samples of a round's order.
    """
    spare = 1.0 if exact else 2.0
    spent, needed = 0.0, 0
    while spent < budget.total:
        price = budget.step_cost(pixels_at(spent / budget.total)) / budget.batch_size
        left = math.ceil((budget.total - spent) / price * ratio * spare)
        taken = min(round_size, left)
        needed += taken
        spent += taken / (ratio * spare) * price
    return needed


def forward_flops(model: nn.Module, pixels: int, channels: int = 3) -> int:
    """FLOPs of a forward pass of one image, as torch counts them.

    Parameters
    ----------
    model
        On the meta device, where a pass takes no time.
    """
    image = torch.zeros((1, channels, pixels, pixels), device="meta")
    training = model.training
    model.eval()
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(image)
    finally:
        model.train(training)
    return int(counter.get_total_flops())
