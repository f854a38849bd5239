"""A sampler as the ``batch_sampler`` of a plain PyTorch DataLoader, or of what else takes lists of ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from samplers.errors import SamplingError
from samplers.plan import Plan
from samplers.protocol import Feedback, Order, State


class Rounds(Protocol):
    """What the adapter needs: any sampler of this package, or a ``Service``."""

    plan: Plan
    rounds: int

    def size(self, number: int, /) -> int:
        """Return the samples that a round draws."""

    def next_order(self) -> Order:
        """Give the next order."""

    def observe(self, feedback: Feedback) -> None:
        """Take feedback."""

    def state_dict(self) -> State:
        """Copy the state."""

    def load_state_dict(self, state: State) -> None:
        """Go on from a state."""


class Batches:
    """One round's batches of ids every time it is iterated over.

    Iterating draws the next order, so feedback on a round should be given before the next iteration begins.
    An iterator left early ends its round.

    Parameters
    ----------
    sampler
        Made with the plan's ``batch_size``, or a service around it.

    Attributes
    ----------
    order
        The round under way, or the last one; None before the first. Its ``weights`` are aligned with the ids
        in the order that batches come in.
    """

    def __init__(self, sampler: Rounds) -> None:
        self.sampler = sampler
        self.order: Order | None = None
        self._begun = 0
        self._resume_at: int | None = None

    @property
    def rounds(self) -> int:
        """Rounds in the whole run."""
        return self.sampler.rounds

    def __len__(self) -> int:
        """Batches in the round to come; in the last one's after the last round."""
        size = self.sampler.plan.batch_size
        if self.order is not None and (self._resume_at is not None or self._begun == self.rounds):
            return len(self.order.ids) // size - (self._resume_at or 0)
        before = sum(self.sampler.size(number) for number in range(self._begun))
        return (before + self.sampler.size(self._begun)) // size - before // size

    def __iter__(self) -> Iterator[list[int]]:
        """Draw the next round and give its batches, lists of ``batch_size`` ids."""
        # Drawn with the first batch, not with the iterator: a DataLoader with workers makes two of these.
        start = self._resume_at
        if start is None:
            self.order = self.sampler.next_order()
            self._begun += 1
        self._resume_at = None
        assert self.order is not None
        size = self.sampler.plan.batch_size
        yield from self.order.ids[(start or 0) * size :].reshape(-1, size).tolist()

    def state_dict(self, done: int) -> State:
        """Copy all that a resumed run needs.

        Parameters
        ----------
        done
            Batches of the round under way that have been trained. (The adapter can't know: loaders read
            ahead.)
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
        """Go on from a state: the next iteration gives what was left of its round."""
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
    """A map-style data set whose items come with their id: ``(id, item)``, or ``(id, *item)`` of a tuple.

    Losses have to find their way back to their samples, and a DataLoader doesn't pass ids on.
    """

    def __init__(self, dataset: Sequence[Item]) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, sample: int) -> tuple[Any, ...]:
        item = self._dataset[sample]
        return (sample, *item) if isinstance(item, tuple) else (sample, item)
