"""Adapter: a sampler as the ``batch_sampler`` of a PyTorch DataLoader or any other consumer of id lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from samplers.errors import SamplingError
from samplers.plan import Plan
from samplers.protocol import Feedback, Order, State


class Rounds(Protocol):
    """Interface that the adapter needs: any sampler of this package, or a ``Service``."""

    plan: Plan
    rounds: int

    def size(self, number: int, /) -> int:
        """Return the number of samples that a round draws."""

    def next_order(self) -> Order:
        """Return the next order."""

    def observe(self, feedback: Feedback) -> None:
        """Record feedback."""

    def state_dict(self) -> State:
        """Return a copy of the state."""

    def load_state_dict(self, state: State) -> None:
        """Restore a state."""


class Batches:
    """Batches of ids: each iteration over it is one round.

    Iterating draws the next order, so feedback on a round should be observed before the next iteration
    begins. Abandoning an iterator early ends its round.

    Parameters
    ----------
    sampler
        Built from a plan with the wanted ``batch_size``; or a service around such a sampler.

    Attributes
    ----------
    order
        The current round's order, or the last one's; None before the first round. Its ``weights`` are aligned
        with the ids of successive batches.
    """

    def __init__(self, sampler: Rounds) -> None:
        self.sampler = sampler
        self.order: Order | None = None
        self._begun = 0
        self._resume_at: int | None = None

    @property
    def rounds(self) -> int:
        """Number of rounds in the whole run."""
        return self.sampler.rounds

    def __len__(self) -> int:
        """Return the number of batches in the next round; after the last round, in that one."""
        size = self.sampler.plan.batch_size
        if self.order is not None and (self._resume_at is not None or self._begun == self.rounds):
            return len(self.order.ids) // size - (self._resume_at or 0)
        before = sum(self.sampler.size(number) for number in range(self._begun))
        return (before + self.sampler.size(self._begun)) // size - before // size

    def __iter__(self) -> Iterator[list[int]]:
        """Draw the next round and yield its batches, lists of ``batch_size`` ids."""
        # Drawn with the first batch, not with the iterator: a DataLoader with workers creates two iterators.
        start = self._resume_at
        if start is None:
            self.order = self.sampler.next_order()
            self._begun += 1
        self._resume_at = None
        assert self.order is not None
        size = self.sampler.plan.batch_size
        yield from self.order.ids[(start or 0) * size :].reshape(-1, size).tolist()

    def state_dict(self, done: int) -> State:
        """Return a copy of all state that a resumed run needs.

        Parameters
        ----------
        done
            Batches of the current round that have been trained on. (The adapter can't count them: loaders
            prefetch.)
        """
        if self.order is None:
            raise SamplingError("a round must have begun before its state is saved; none has")
        state: State = {"done": done, "begun": self._begun}
        for name in ("round", "ids", "weights", "score_ids", "lr_scale"):
            value = getattr(self.order, name)
            if value is not None:
                state[f"order.{name}"] = value.copy() if isinstance(value, np.ndarray) else value
        return {**state, **{f"sampler.{key}": value for key, value in self.sampler.state_dict().items()}}

    def load_state_dict(self, state: State) -> None:
        """Restore a state: the next iteration yields the remaining batches of its round."""
        prefix = "sampler."
        own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        self.sampler.load_state_dict(own)
        self.order = Order(
            int(state["order.round"]),
            np.array(state["order.ids"]),
            state.get("order.weights"),
            state.get("order.score_ids"),
            float(state["order.lr_scale"]),
        )
        self._begun = int(state["begun"])
        self._resume_at = int(state["done"])


Item = TypeVar("Item")


class WithIds(Generic[Item]):
    """A map-style data set that returns each item with its id: ``(id, item)``, or ``(id, *item)`` for tuples.

    Feedback needs the ids of a batch's samples, and a DataLoader doesn't return them.
    """

    def __init__(self, dataset: Sequence[Item]) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, sample: int) -> tuple[Any, ...]:
        item = self._dataset[sample]
        return (sample, *item) if isinstance(item, tuple) else (sample, item)
