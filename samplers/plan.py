"""The budget of a run in samples, shared out over rounds exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samplers.errors import SamplingError


@dataclass(frozen=True, slots=True)
class Plan:
    """How much may be drawn, and in how many rounds.

    The budget B is the fraction of a full training's samples (Arazo et al. 2021, section 3): a full training
    sees N samples in each of T epochs, so the plan holds round(T * N * B) samples. Rounds get whole numbers
    that add up to exactly that. Orders come in multiples of ``batch_size``: what a round leaves over heads
    the next round's order, so a whole run loses less than one batch, whatever the round's size. The papers
    drop the remainder of every epoch instead: on CIFAR-10 with batches of 128 a full training of 200 epochs
    has 78,125 steps here and 78,000 there (0.16% fewer). A batch that joins two rounds may hold a sample
    twice.

    A round holds a batch at least, lest it be evaluated without a step: where T / ``round_length`` rounds
    would be shorter, there are fewer of them, and ``notes`` tells so.

    Attributes
    ----------
    samples
        N, the size of the training set.
    epochs
        T, epochs of a full-budget training.
    budget
        B in (0, 1].
    batch_size
        Samples per optimizer step over all ranks; 1 leaves orders uncut.
    seed
        Of the orders only.
    round_length
        Length of a round in epoch equivalents; below 1 gives fresher orders. At least a batch is taken.
    labels
        int64[N], needed by samplers that look at classes.
    digest
        SHA-256 of the training set, which a scores file must name where it names one; None isn't compared.
    loaded
        Samples that orders hold in all, where more are loaded than are trained on: there are as many more
        rounds then, of the same size. None for round(T * N * B).
    """

    samples: int
    epochs: float = 1
    budget: float = 1.0
    batch_size: int = 1
    seed: int = 0
    round_length: float = 1.0
    labels: NDArray[np.int64] | None = None
    digest: str | None = None
    loaded: int | None = None

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise SamplingError(f"samples must be at least 1; got {self.samples}")
        if not 0 < self.budget <= 1:
            raise SamplingError(
                f"budget must be above 0 and at most 1, a fraction of the full training; got {self.budget}"
            )
        if not 0 < self.epochs < float("inf"):
            raise SamplingError(f"epochs must be above 0 and finite; got {self.epochs}")
        if self.batch_size < 1:
            raise SamplingError(f"batch_size must be at least 1; got {self.batch_size}")
        if self.batch_size > self.samples:
            raise SamplingError(
                f"batch_size must be at most the {self.samples:,} samples of this set; "
                f"got {self.batch_size:,}"
            )
        if not 0 < self.round_length <= 1:
            raise SamplingError(f"round_length must be above 0 and at most 1 epoch; got {self.round_length}")
        if self.labels is not None and self.labels.shape != (self.samples,):
            raise SamplingError(
                f"labels must hold one class a sample, shape ({self.samples},); got {self.labels.shape}"
            )
        if self.labels is not None and (self.labels.dtype.kind not in "iu" or self.labels.min() < 0):
            raise SamplingError(
                f"labels must be classes counted from 0; got {self.labels.dtype} down to {self.labels.min()}"
            )
        if self.total < self.batch_size:
            raise SamplingError(
                f"a budget must hold at least one batch of {self.batch_size:,}; {self.budget:g} of "
                f"{self.epochs:g} epochs of {self.samples:,} samples is {self.total:,}: raise budget or "
                "epochs, or lower batch_size"
            )

    @property
    def total(self) -> int:
        """Samples that orders hold in all, batch remainder not yet taken off."""
        return round(self.epochs * self.samples * self.budget) if self.loaded is None else self.loaded

    @property
    def steps(self) -> int:
        """Optimizer steps in the whole run: whole batches only."""
        return self.total // self.batch_size

    @property
    def rounds(self) -> int:
        """Rounds of a sampler that spends the budget evenly over all T epochs, of a batch each at least."""
        return min(self._asked_rounds, self.steps)

    @property
    def _asked_rounds(self) -> int:
        epochs = self.epochs if self.loaded is None else self.loaded / (self.samples * self.budget)
        return max(1, round(epochs / self.round_length))

    @property
    def notes(self) -> tuple[str, ...]:
        """Where the plan departs from what its fields ask for: one line each."""
        if self._asked_rounds == self.rounds:
            return ()
        asked = self.total / self._asked_rounds
        return (
            f"a round holds a batch of {self.batch_size:,} samples at least; {self._asked_rounds:,} rounds "
            f"of {asked:,.3g} would not: {self.rounds:,} rounds instead",
        )

    def size(self, round: int) -> int:  # noqa: A002  (the field's word; the builtin isn't used here)
        """Return the samples of ``round``, the total spread over ``rounds`` rounds: N*B up to rounding."""
        return self.before(round + 1) - self.before(round)

    def before(self, round: int) -> int:  # noqa: A002  (as above)
        """Return the samples of all rounds before ``round``."""
        return round * self.total // self.rounds
