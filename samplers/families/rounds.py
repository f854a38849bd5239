"""What every sampler shares: rounds, the batch remainder, buffered feedback, state.

A sampler adds how a round's ids are drawn (``draw``), what it hears (``hears``) and how that is folded into
its memory (``fold``).
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from samplers.draws import counter
from samplers.errors import SamplingError, SamplingWarning
from samplers.plan import Plan
from samplers.protocol import Feedback, Order, State

Heard = Literal["loss", "p_true", "error", "gradient"]

_NO_IDS = np.empty(0, np.int64)


S = TypeVar("S", bound="RoundSampler")


def announced(sampler: S) -> S:
    """Warn of each of a sampler's notes, in the name of whoever called ``build``; returns the sampler."""
    for note in sampler.notes:
        warnings.warn(note, SamplingWarning, stacklevel=3)
    return sampler


@dataclass(frozen=True, slots=True)
class Draw:
    """A round's ids before they are cut to whole batches; fields as in ``Order``."""

    ids: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None
    score_ids: NDArray[np.int64] | None = None
    lr_scale: float = 1.0


def check_feedback(feedback: Feedback, samples: int, hears: tuple[Heard, ...]) -> None:
    """Refuse feedback, of one row or more, on ids outside the set or without what a sampler hears."""
    if "p_true" in hears and feedback.p_true is None:
        raise SamplingError(
            "this sampler needs p_true, the probability of the true class, and the feedback has none: "
            "choose a sampler that works on the loss"
        )
    if "error" in hears and feedback.error is None:
        raise SamplingError(
            "this sampler needs error, the norm of softmax - onehot, and the feedback has none: "
            "measure it, or choose another metric"
        )
    if feedback.progress is not None and not 0 <= feedback.progress <= 1:
        raise SamplingError(
            f"progress must be from 0 to 1, or None; got {feedback.progress}: give the part of the run that "
            "is over"
        )
    low, high = feedback.ids.min(), feedback.ids.max()
    if low < 0 or high >= samples:
        raise SamplingError(
            f"feedback must be of ids below the set's {samples:,} samples; got {low if low < 0 else high}"
        )


class Rows:
    """Feedback rows since the last fold, in arrays that grow by doubling.

    Attributes
    ----------
    columns
        ``ids`` int64, ``share`` float32 and one float32 column for everything heard; the first ``count``
        entries hold rows.
    """

    def __init__(self, hears: tuple[Heard, ...]) -> None:
        self.count = 0
        self.columns: dict[str, NDArray[Any]] = {"ids": np.empty(0, np.int64)}
        for name in ("share", *hears):
            self.columns[name] = np.empty(0, np.float32)

    def append(self, feedback: Feedback) -> None:
        """Copy rows in."""
        start, stop = self.count, self.count + len(feedback.ids)
        for name, column in self.columns.items():
            if stop > len(column):
                self.columns[name] = np.resize(column, max(stop, 2 * len(column), 4096))
        for name, column in self.columns.items():
            rows = getattr(feedback, "ids" if name == "ids" else name)
            column[start:stop] = 1 if rows is None else rows  # only a share may be None
        self.count = stop

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name][: self.count]

    def clear(self) -> None:
        """Forget all rows, keeping the memory."""
        self.count = 0


class Hearing(Protocol):
    """Options of a sampler that say what it takes from feedback."""

    @property
    def hears(self) -> tuple[Heard, ...]:
        """Statistics that the sampler reads of each row of feedback; without any, feedback is dropped."""


class RoundSampler(ABC):
    """A sampler that draws a round at a time.

    Parameters
    ----------
    part
        The options that it was built from; its ``repr`` marks saved states.
    plan
        The budget.
    """

    def __init__(self, part: Hearing, plan: Plan) -> None:
        self.part = part
        self.plan = plan
        self.rounds = plan.rounds
        self.round = 0
        self.hears = part.hears
        self._rows = Rows(self.hears)
        self._progress: float | None = None
        self._carry = _NO_IDS
        self._carry_weights: NDArray[np.float32] | None = None

    def size(self, number: int) -> int:
        """Return how many samples round ``number`` draws, before the batch remainder is carried."""
        return self.plan.size(number)

    @property
    def notes(self) -> tuple[str, ...]:
        """What looks odd in options and plan together but can be meant: one line each.

        A sampler whose options do nothing under its plan tells so here; ``build`` also warns of each line
        (`SamplingWarning`).
        """
        return self.plan.notes if self.rounds == self.plan.rounds else ()

    @property
    def total(self) -> int:
        """Samples that the orders of the whole run come to, as far as can be known before the next one.

        The plan's; where feedback says how much of the run is over, what it comes to at its pace so far.
        """
        before = self.plan.before(self.round)
        return min(self.plan.total, round(before / self._progress)) if self._progress else self.plan.total

    @abstractmethod
    def probabilities(self) -> NDArray[np.float64]:
        """Return how likely each sample is to be the next one drawn, float64[N] of sum 1.

        Of the round to come, given what has been heard; carried batch remainders aside.
        """

    @abstractmethod
    def draw(self, size: int) -> Draw:
        """Draw ``size`` ids for the round ``self.round``; all feedback has been folded."""

    def fold(self, rows: Rows) -> None:  # noqa: B027  (a sampler that hears nothing folds nothing)
        """Fold rows into memory; the result mustn't depend on how rows were cut into calls."""

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that later orders depend on, by name."""
        return {}

    def load_memory(self, saved: dict[str, NDArray[Any]]) -> None:
        """Take saved copies of those arrays in; arrays keep their size unless a sampler says otherwise."""
        for name, column in self.memory().items():
            column[...] = saved[name]

    def key(self, stream: str, number: int | None = None) -> np.uint64:
        """Key of this round's random numbers for one purpose."""
        return counter.make_key(self.plan.seed, stream, self.round if number is None else number)

    def fold_heard(self) -> None:
        """Fold what has been heard so far; doing so early changes nothing."""
        if self._rows.count:
            self.fold(self._rows)
            self._rows.clear()

    def next_order(self) -> Order:
        """Fold the feedback heard so far and give the next round's order."""
        if self.round >= self.rounds:
            raise SamplingError(
                f"orders must be asked for at most {self.rounds} times, once a round of the plan; "
                f"got request {self.round + 1}: plan more rounds"
            )
        self.fold_heard()
        drawn = self.draw(self.size(self.round))
        ids = np.concatenate([self._carry, drawn.ids])
        weights = self._join_weights(drawn)
        whole = len(ids) - len(ids) % self.plan.batch_size
        self._carry = ids[whole:].copy()
        self._carry_weights = None if weights is None else weights[whole:].copy()
        order = Order(
            self.round,
            ids[:whole],
            None if weights is None else weights[:whole],
            drawn.score_ids,
            drawn.lr_scale,
        )
        self.round += 1
        return order

    def _join_weights(self, drawn: Draw) -> NDArray[np.float32] | None:
        if self._carry_weights is None and drawn.weights is None:
            return None
        carry = np.ones(len(self._carry), np.float32) if self._carry_weights is None else self._carry_weights
        own = np.ones(len(drawn.ids), np.float32) if drawn.weights is None else drawn.weights
        return np.concatenate([carry, own])

    def observe(self, feedback: Feedback) -> None:
        """Copy feedback into the buffer.

        Raises
        ------
        SamplingError
            For ids outside the set, a progress outside [0, 1], or when the sampler needs ``p_true`` and there
            is none.
        """
        if self.hears and len(feedback.ids):
            check_feedback(feedback, self.plan.samples, self.hears)
            self._rows.append(feedback)
            self._progress = feedback.progress

    def state_dict(self) -> State:
        """Copy all that the remaining orders depend on."""
        state: State = {
            "schema": 2,
            "part": repr(self.part),
            "plan": self._plan_mark(),
            "round": self.round,
            "carry.ids": self._carry.copy(),
        }
        if self._progress is not None:
            state["heard.progress"] = self._progress
        if self._carry_weights is not None:
            state["carry.weights"] = self._carry_weights.copy()
        for name in self._rows.columns:
            state[f"heard.{name}"] = self._rows[name].copy()
        for name, column in self.memory().items():
            state[f"memory.{name}"] = column.copy()
        return state

    def load_state_dict(self, state: State) -> None:
        """Go on from a state of a sampler with the same options and plan.

        Raises
        ------
        SamplingError
            When options or plan differ, or another version saved it.
        """
        for what, own in (("schema", 2), ("part", repr(self.part)), ("plan", self._plan_mark())):
            if state.get(what) != own:
                raise SamplingError(
                    f"a saved sampler must have this sampler's {what}, {own}; got {state.get(what)}: "
                    "load it with the options that it was saved with"
                )
        missing = [name for name in self.memory() if f"memory.{name}" not in state]
        if missing:
            raise SamplingError(
                f"a saved sampler must hold {', '.join(self.memory())}; this one lacks {', '.join(missing)}: "
                "go on with the version that saved it, or begin anew"
            )
        self.round = int(state["round"])
        self._carry = np.array(state["carry.ids"], np.int64)
        weights = state.get("carry.weights")
        self._carry_weights = None if weights is None else np.array(weights, np.float32)
        self._progress = state.get("heard.progress")
        for name, column in self._rows.columns.items():
            self._rows.columns[name] = np.array(state[f"heard.{name}"], column.dtype)
        self._rows.count = len(self._rows.columns["ids"])
        self.load_memory({name: state[f"memory.{name}"] for name in self.memory()})

    def _plan_mark(self) -> str:
        plan = self.plan
        rounds = f"{self.rounds} rounds, batches of {plan.batch_size}"
        return f"{plan.total} of {plan.samples} samples, {rounds}, seed {plan.seed}"
