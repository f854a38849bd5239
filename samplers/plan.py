"""Plan: a run's budget in samples, and its division into rounds."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from samplers.errors import SamplingError
from samplers.oscillation import Oscillation


@dataclass(frozen=True, slots=True)
class Plan:
    """The number of samples to draw in a run, and the number of rounds.

    The budget B is a fraction of a full training's samples (Arazo et al. 2021, section 3): a full training
    sees N samples in each of T epochs, so the plan holds round(T * N * B) samples. The integer sizes of its
    rounds add up to exactly that. Orders come in multiples of ``batch_size``: the remainder of a round is
    prepended to the next round's order, so a whole run loses less than one batch, whatever the round's size.
    The papers drop the remainder of every epoch instead: on CIFAR-10 with batches of 128, a full training of
    200 epochs has 78,125 steps here and 78,000 there (0.16% fewer). A batch that spans two rounds may hold a
    sample twice.

    A round holds at least one batch, so that each evaluation follows a step: if T / ``round_length`` rounds
    would be shorter, there are fewer rounds, with a line in ``notes``.

    With ``oscillation`` the rounds' volumes are low and high in turn, at the same total: see `Oscillation`.

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
        Seed of the orders.
    round_length
        Length of a round in epoch equivalents; below 1, orders use more recent feedback. At least one batch.
    labels
        int64[N], needed by samplers that use classes.
    digest
        SHA-256 of the training set, compared with that in a scores file, if any; None skips the check.
    loaded
        Total samples in orders, if more are loaded than trained on: there are then proportionally more
        rounds, of the same size. None for round(T * N * B).
    oscillation
        Depth d in [0, 1) of the oscillation of a round's volume, (1 - d) and (1 + d) times the mean in turn;
        0 keeps it constant. A high round holds at most N samples.
    oscillation_rounds
        Rounds of each low and each high phase.
    """

    samples: int
    epochs: float = 1
    budget: float = 1.0
    batch_size: int = 1
    seed: int = 0
    round_length: float = 1.0
    labels: NDArray[np.int64] | None = field(default=None, repr=False)
    digest: str | None = None
    loaded: int | None = None
    oscillation: float = 0.0
    oscillation_rounds: int = 1

    def __post_init__(self) -> None:
        volumes = self._volumes  # which checks the oscillation
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
                f"labels must hold one class per sample, shape ({self.samples},); got {self.labels.shape}"
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
        if self.oscillation and (largest := volumes.largest(self.rounds, self.total)) > self.samples:
            raise SamplingError(
                f"a high round must hold at most the {self.samples:,} samples of this set; oscillation "
                f"{self.oscillation:g} around {self.total / self.rounds:,.0f} makes it {largest:,}: lower "
                "oscillation, the budget or round_length"
            )

    @property
    def _volumes(self) -> Oscillation:
        return Oscillation(self.oscillation, self.oscillation_rounds)

    @property
    def total(self) -> int:
        """Total samples in orders, including the final batch remainder, which is dropped."""
        return round(self.epochs * self.samples * self.budget) if self.loaded is None else self.loaded

    @property
    def steps(self) -> int:
        """Number of optimizer steps in the whole run: whole batches only."""
        return self.total // self.batch_size

    @property
    def rounds(self) -> int:
        """Number of rounds, each of at least one batch, if the budget is spread evenly over all T epochs."""
        return min(self._asked_rounds, self._volumes.most_rounds(self.total, self.batch_size))

    @property
    def _asked_rounds(self) -> int:
        epochs = self.epochs if self.loaded is None else self.loaded / (self.samples * self.budget)
        return max(1, round(epochs / self.round_length))

    @property
    def notes(self) -> tuple[str, ...]:
        """Deviations of the plan from its fields: one line each."""
        lines: tuple[str, ...] = ()
        if self._asked_rounds != self.rounds:
            least = (1 - self.oscillation) * self.total / self._asked_rounds
            lines += (
                f"a round holds at least one batch of {self.batch_size:,} samples; {self._asked_rounds:,} "
                f"rounds of {least:,.3g} would not: {self.rounds:,} rounds instead",
            )
        if self.oscillation and self.rounds <= self.oscillation_rounds:
            lines += (
                f"the volume oscillates after a phase of {self.oscillation_rounds:,} rounds, and the run has "
                f"{self.rounds:,}, so that it has no effect: lower oscillation_rounds",
            )
        return lines

    def size(self, round: int) -> int:  # noqa: A002  (the field's word; the builtin isn't used here)
        """Return the number of samples in ``round``: N*B up to rounding, without an oscillation."""
        return self.before(round + 1) - self.before(round)

    def before(self, round: int) -> int:  # noqa: A002  (as above)
        """Return the number of samples in all rounds before ``round``."""
        return self._volumes.before(round, self.rounds, self.total)

    @property
    def largest(self) -> int:
        """Number of samples in the largest round, rounded up."""
        return self._volumes.largest(self.rounds, self.total)

    def rounds_within(self, samples: int) -> int:
        """Return the least number of initial rounds that hold ``samples`` samples, at most the total."""
        return bisect.bisect_left(range(self.rounds + 1), samples, key=self.before)
