"""scan: every sample once per epoch, for fewer epochs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from samplers.errors import SamplingError
from samplers.families.rounds import RoundDraft, RoundSampler, Statistic, announced
from samplers.families.sweeps import stream
from samplers.plan import Plan


class ScanSampler(RoundSampler):
    """The stream of whole-set permutations in rounds of N samples."""

    def __init__(self, part: Scan, plan: Plan) -> None:
        super().__init__(part, plan)
        # Epochs in which a batch ends: the remainder after the last whole batch makes no round of its own.
        self.rounds = -(-plan.steps * plan.batch_size // plan.samples)

    @property
    def notes(self) -> tuple[str, ...]:
        """Empty: rounds are epochs, whatever the plan's rounds are."""
        return ()

    def size(self, number: int) -> int:
        """Return N; in the last round, the rest of the budget."""
        return min(self.plan.samples, self.plan.total - number * self.plan.samples)

    def probabilities(self) -> NDArray[np.float64]:
        """Return 1 / N for all samples, float64[N]: every round begins a permutation."""
        return np.full(self.plan.samples, 1 / self.plan.samples)

    def draw(self, size: int) -> RoundDraft:
        """Cut the next N samples from the stream."""
        start = self.round * self.plan.samples
        return RoundDraft(stream(self.plan.samples, self.plan.seed, start, start + size))


@dataclass(frozen=True)
class Scan:
    """Every sample once per epoch, in random order; the budget cuts the number of epochs.

    Truncated training, "scan-SGD" of Arazo et al. (2021), section 3: T * B epochs, each a new permutation
    of all N samples. The paper rounds T * B to whole epochs; here the last epoch is cut where the budget
    ends, so that all samplers train on the same number of samples. ``round_length`` of the plan has no
    effect.
    """

    needs: ClassVar[tuple[Statistic, ...]] = ()
    whole_epochs: ClassVar[bool] = True

    def build(self, plan: Plan) -> ScanSampler:
        """Return the sampler.

        Raises
        ------
        SamplingError
            When the plan's volume oscillates.
        """
        if plan.oscillation:
            raise SamplingError(
                f"oscillation must be 0 for scan, whose rounds are whole epochs; got {plan.oscillation:g}: "
                "choose another sampler, rs2 say"
            )
        return announced(ScanSampler(self, plan))
