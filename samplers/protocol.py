"""Order, Feedback, Sampler: what a sampler says, what it hears, and the methods in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

State = dict[str, Any]
"""A sampler's state: plain numbers, strings, lists and NumPy arrays, so that any checkpoint can hold it."""


@dataclass(frozen=True, slots=True)
class Order:
    """The ids to train on in one round, in this sequence.

    Global: under data parallelism every rank holds the same order and the loader slices it.

    Attributes
    ----------
    round
        The round's number, from 0.
    ids
        int64[n]; a multiple of the plan's batch size. May be empty, and may hold an id more than once.
    weights
        float32[n], loss multipliers, of mean 1 unless the sampler's description says otherwise; None means
        all 1.
    score_ids
        int64[m], samples to score at the end of the round: a forward pass without training, whose rows come
        back as feedback with ``trained`` False before the next order is asked for. The rows have a
        ``gradient`` where the sampler's part asks for gradients (`ScoringPart`). They cost no budget of
        trained samples. None means none; a loop that can't score may leave them out.
    lr_scale
        Factor on the learning rate for this round's steps.
    """

    round: int
    ids: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None
    score_ids: NDArray[np.int64] | None = None
    lr_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Feedback:
    """What training (or scoring) said about samples: one row a constituent of a trained image.

    A plain image is one row with share 1. Under mixup an image gives two rows, the two owners with shares
    lambda and 1 - lambda; under RICAP four rows with the patches' areas as shares. ``loss`` and ``p_true``
    of a row are taken with *that owner's* label, so an owner never hears about another's label.

    Attributes
    ----------
    step
        Count of optimizer steps made when the last row was measured; never falls from call to call.
    ids
        int64[n], the owners.
    loss
        float32[n], unweighted loss against the owner's label, in nats.
    p_true
        float32[n], probability given to the owner's label; None for tasks without classes.
    trained
        bool[n], True where a backward pass was made, False where the row was only scored.
    share
        float32[n] in [0, 1], the owner's share of the image; None means all 1.
    error
        float32[n], the norm of the error vector, ||softmax - onehot(the owner's label)||_2: what EL2N
        averages over networks, and the norm of the loss's gradient at the last layer's outputs. None where a
        loop doesn't measure it.
    gradient
        float32[n], the norm of the loss's gradient by all of the network's parameters, of this row alone.
        None but for the scores of a sampler that asks for gradients.
    progress
        How much of the run was over when the last row was measured, in [0, 1]. None where orders are spent as
        they are planned, so that a sampler can count for itself; a loop that trains on part of what it loads,
        or stops by another measure than samples, tells it here.
    """

    step: int
    ids: NDArray[np.int64]
    loss: NDArray[np.float32]
    p_true: NDArray[np.float32] | None
    trained: NDArray[np.bool_]
    share: NDArray[np.float32] | None = None
    error: NDArray[np.float32] | None = None
    progress: float | None = None
    gradient: NDArray[np.float32] | None = None

    def rows(self, part: slice) -> Feedback:
        """See some of the rows."""
        return self._each(lambda column: column[part])

    def copy(self) -> Feedback:
        """Copy all arrays, which their owner may write over."""
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

    ``observe`` only buffers; what was heard is folded in by ``next_order``. So orders depend on which
    feedback came before which order, never on timing.
    """

    @property
    def rounds(self) -> int:
        """How many orders there are in all."""

    def next_order(self) -> Order:
        """Fold the feedback heard so far and give the next round's order.

        Raises
        ------
        SamplingError
            When the plan's rounds are used up.
        """

    def observe(self, feedback: Feedback) -> None:
        """Take feedback, without work that a training step would feel."""

    def state_dict(self) -> State:
        """Everything that the remaining orders depend on, as a snapshot that later calls don't change."""

    def load_state_dict(self, state: State) -> None:
        """Go on from ``state``: the orders that follow equal those of the sampler that gave it."""
