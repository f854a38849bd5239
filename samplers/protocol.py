"""Protocols: Order (a sampler's output), Feedback (its input), Sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

State = dict[str, Any]
"""A sampler's state: plain numbers, strings, lists and NumPy arrays, which any checkpoint format can hold."""


@dataclass(frozen=True, slots=True)
class Order:
    """The ids to train on in one round, in sequence.

    Global: under data parallelism every rank holds the same order, and the loader slices it.

    Attributes
    ----------
    round
        The round's number, from 0.
    ids
        int64[n], n a multiple of the plan's batch size. May be empty, and may hold an id more than once.
    weights
        float32[n], loss multipliers, of mean 1 unless the sampler's documentation states otherwise; None
        means all 1.
    score_ids
        int64[m], samples to score at the end of the round: a forward pass without training, whose rows are
        passed to ``observe`` with ``trained`` False before the next call of ``next_order``. The rows have a
        ``gradient`` if the sampler's config requires gradients (`ScoringConfig`). They don't count toward the
        budget of trained samples. None means none; a loop that can't score may skip them.
    lr_scale
        Learning-rate multiplier for this round's steps; 1 unless the sampler's config has ``scales_lr``.
    """

    round: int
    ids: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None
    score_ids: NDArray[np.int64] | None = None
    lr_scale: float = 1.0

    def __repr__(self) -> str:
        more = "" if self.weights is None else ", weighted"
        more += "" if self.score_ids is None else f", {len(self.score_ids):,} to score"
        more += "" if self.lr_scale == 1 else f", lr_scale {self.lr_scale:.4g}"
        return f"Order(round {self.round}: {len(self.ids):,} ids{more})"


@dataclass(frozen=True, slots=True)
class Feedback:
    """Per-sample statistics of training (or scoring): one row per source sample of an image.

    A plain image is one row with coefficient 1. Under mixup an image has two rows, one per source sample,
    with coefficients lambda and 1 - lambda; under RICAP four rows with the patches' areas as coefficients.
    ``loss`` and ``p_true`` of a row are computed with *that sample's* label, so each sample receives only the
    loss for its own label.

    Attributes
    ----------
    step
        Number of optimizer steps made when the last row was measured; never decreases between calls.
    ids
        int64[n], the source samples.
    loss
        float32[n], unweighted loss against the sample's label, in nats.
    p_true
        float32[n], predicted probability of the sample's label; None for tasks without classes.
    trained
        bool[n], True if the row was trained on (a backward pass), False if it was only scored.
    coefficient
        float32[n] in [0, 1], the sample's mixing coefficient in the image; None means all 1.
    error
        float32[n], the norm of the error vector, ||softmax - onehot(the sample's label)||_2: the quantity
        that EL2N averages over networks, and the norm of the loss's gradient with respect to the last layer's
        outputs. None if the loop doesn't measure it.
    gradient
        float32[n], the norm of the gradient of this row's loss with respect to all of the network's
        parameters. None except for scores of a sampler that requires gradients.
    progress
        Fraction of the run completed when the last row was measured, in [0, 1]. None if orders are trained on
        as planned, so that the sampler's own count is right; a loop that trains on part of what it loads, or
        whose budget isn't counted in samples, reports it here.
    """

    step: int
    ids: NDArray[np.int64]
    loss: NDArray[np.float32]
    p_true: NDArray[np.float32] | None
    trained: NDArray[np.bool_]
    coefficient: NDArray[np.float32] | None = None
    error: NDArray[np.float32] | None = None
    progress: float | None = None
    gradient: NDArray[np.float32] | None = None

    def __repr__(self) -> str:
        columns = [item.name for item in fields(self) if isinstance(getattr(self, item.name), np.ndarray)]
        return f"Feedback(step {self.step:,}: {len(self.ids):,} rows of {', '.join(columns)})"

    def rows(self, part: slice) -> Feedback:
        """Return a view of some of the rows."""
        return self._each(lambda column: column[part])

    def copy(self) -> Feedback:
        """Return a copy with its own arrays, for when the caller reuses its buffers."""
        return self._each(np.copy)

    def _each(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> Feedback:
        columns = {item.name: getattr(self, item.name) for item in fields(self)}
        changed: dict[str, Any] = {
            name: function(column) for name, column in columns.items() if isinstance(column, np.ndarray)
        }
        return replace(self, **changed)


@runtime_checkable
class Sampler(Protocol):
    """Chooses which samples to load, round by round.

    ``observe`` only buffers feedback; ``next_order`` folds it in. So orders depend on which feedback came
    before which order, never on timing.
    """

    @property
    def rounds(self) -> int:
        """Total number of orders."""

    def next_order(self) -> Order:
        """Fold the feedback so far and return the next round's order.

        Raises
        ------
        SamplingError
            If the plan's rounds are used up.
        """

    def observe(self, feedback: Feedback) -> None:
        """Buffer feedback, at a cost that is negligible in a training step."""

    def state_dict(self) -> State:
        """Return a snapshot of all state that the remaining orders depend on; later calls don't change it."""

    def load_state_dict(self, state: State) -> None:
        """Restore ``state``: the orders that follow equal those of the sampler that saved it."""


def may_starve(config: object) -> bool:
    """Whether a config's sampler can leave a sample out for good.

    Either by its definition, or where its importance reaches 0: the config then has ``may_starve = True``.
    All others return to every sample, however well it is learned.
    """
    return bool(getattr(config, "may_starve", False))


def has_whole_epochs(config: object) -> bool:
    """Whether a config's sampler has epochs for rounds at any budget, as ``scan``, of which there are fewer.

    Its config then has ``whole_epochs = True``. The rounds of all others hold N * B samples.
    """
    return bool(getattr(config, "whole_epochs", False))
