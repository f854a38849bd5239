"""The place that a plain loop has reached: its order, and which of the order's batches are left."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from samplers import Order, State

_ARRAYS = ("ids", "weights", "score_ids")


@dataclass(slots=True)
class Position:
    """A place in a sampler's orders.

    Attributes
    ----------
    order
        The order under way, or the last one; None before the first.
    left
        Numbers of its batches that are still to be trained on, in their order.
    steps
        Batches trained on, in all.
    scores_due
        Whether scores that the order asks for are still to be made.
    """

    order: Order | None = None
    left: dict[int, None] = field(default_factory=dict)
    steps: int = 0
    scores_due: bool = False

    @property
    def round(self) -> int:
        """Number of completed rounds."""
        if self.order is None:
            return 0
        return self.order.round if self.left else self.order.round + 1

    def begin(self, order: Order, batch_size: int) -> None:
        """Take an order, none of whose batches has been trained on."""
        self.order = order
        self.left = dict.fromkeys(range(len(order.ids) // batch_size))
        self.scores_due = order.score_ids is not None and len(order.score_ids) > 0

    def trained(self, number: int) -> None:
        """Count a batch of the order as trained on."""
        del self.left[number]
        self.steps += 1

    def state_dict(self) -> State:
        """Return a copy: plain values and arrays."""
        state: State = {
            "left": np.array(list(self.left), np.int64),
            "steps": self.steps,
            "scores_due": self.scores_due,
        }
        if self.order is not None:
            state |= {"order.round": self.order.round, "order.lr_scale": self.order.lr_scale}
            for name in _ARRAYS:
                value = getattr(self.order, name)
                if value is not None:
                    state[f"order.{name}"] = value.copy()
        return state

    @classmethod
    def of(cls, state: State) -> Position:
        """Return the position that a state holds."""
        order = None
        if "order.ids" in state:
            ids, weights, asked = (state.get(f"order.{name}") for name in _ARRAYS)
            number, scale = int(state["order.round"]), float(state["order.lr_scale"])
            order = Order(number, np.array(ids), weights, asked, scale)
        left = dict.fromkeys(int(number) for number in state["left"])
        return cls(order, left, int(state["steps"]), bool(state["scores_due"]))
