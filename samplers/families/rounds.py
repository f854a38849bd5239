"""Base class of all samplers: rounds, batch remainder, feedback buffer, state.

A subclass defines how a round's ids are drawn (``draw``), the statistics that it uses, and how these are
folded into its memory (``fold``).
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

Statistic = Literal["loss", "p_true", "error", "gradient"]

_NO_IDS = np.empty(0, np.int64)

_SAVED = {"coefficient": "heard.share"}
"""Key in saved states of a feedback column that was renamed since; the others are ``heard.NAME``."""


S = TypeVar("S", bound="RoundSampler")


def announced(sampler: S) -> S:
    """Issue a sampler's notes as warnings, attributed to the caller of ``build``, and return the sampler."""
    for note in sampler.notes:
        warnings.warn(note, SamplingWarning, stacklevel=3)
    return sampler


@dataclass(frozen=True, slots=True)
class RoundDraft:
    """A round's ids before truncation to whole batches; fields as in ``Order``."""

    ids: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None
    score_ids: NDArray[np.int64] | None = None
    lr_scale: float = 1.0


def check_feedback(feedback: Feedback, samples: int, needs: tuple[Statistic, ...]) -> None:
    """Raise SamplingError if feedback (one row or more) has unknown ids or lacks a statistic in use."""
    if "p_true" in needs and feedback.p_true is None:
        raise SamplingError(
            "this sampler needs p_true, the probability of the true class, and the feedback has none: "
            "choose a sampler that uses the loss"
        )
    if "error" in needs and feedback.error is None:
        raise SamplingError(
            "this sampler needs error, the norm of softmax - onehot, and the feedback has none: "
            "measure it, or choose another metric"
        )
    if feedback.progress is not None and not 0 <= feedback.progress <= 1:
        raise SamplingError(
            f"progress must be from 0 to 1, or None; got {feedback.progress}: pass the fraction of the run "
            "that is completed"
        )
    low, high = feedback.ids.min(), feedback.ids.max()
    if low < 0 or high >= samples:
        raise SamplingError(
            f"feedback must be of ids below the set's {samples:,} samples; got {low if low < 0 else high}"
        )


class FeedbackBuffer:
    """Buffer of feedback rows since the last fold, in arrays that grow by doubling.

    Attributes
    ----------
    columns
        ``ids`` int64, ``coefficient`` float32 and one float32 column per statistic; the first ``count``
        entries are valid.
    """

    def __init__(self, needs: tuple[Statistic, ...]) -> None:
        self.count = 0
        self.columns: dict[str, NDArray[Any]] = {"ids": np.empty(0, np.int64)}
        for name in ("coefficient", *needs):
            self.columns[name] = np.empty(0, np.float32)

    def append(self, feedback: Feedback) -> None:
        """Copy the rows of ``feedback`` into the buffer."""
        start, stop = self.count, self.count + len(feedback.ids)
        for name, column in self.columns.items():
            if stop > len(column):
                self.columns[name] = np.resize(column, max(stop, 2 * len(column), 4096))
        for name, column in self.columns.items():
            rows = getattr(feedback, "ids" if name == "ids" else name)
            column[start:stop] = 1 if rows is None else rows  # only a coefficient may be None
        self.count = stop

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name][: self.count]

    def clear(self) -> None:
        """Remove all rows, keeping the allocated memory."""
        self.count = 0


class FeedbackConfig(Protocol):
    """Config of a sampler, with the statistics that it needs from feedback."""

    @property
    def needs(self) -> tuple[Statistic, ...]:
        """Feedback columns that this sampler uses; empty means that feedback is ignored."""


class RoundSampler(ABC):
    """Base class of samplers, which draw one round at a time.

    Parameters
    ----------
    part
        The config that it was built from; its ``repr`` identifies saved states.
    plan
        The budget.
    """

    def __init__(self, part: FeedbackConfig, plan: Plan) -> None:
        self.part = part
        self.plan = plan
        self.rounds = plan.rounds
        self._planned = plan.total, plan.rounds
        self.round = 0
        self.needs = part.needs
        self._rows = FeedbackBuffer(self.needs)
        self._progress: float | None = None
        self._carry = _NO_IDS
        self._carry_weights: NDArray[np.float32] | None = None

    def __repr__(self) -> str:
        plan = self.plan
        return (
            f"{self.part!r} on {plan.samples:,} samples: {self.round} of {self.rounds} rounds, "
            f"{plan.budget:.4g} of {plan.epochs:g} epochs in batches of {plan.batch_size}"
        )

    def size(self, number: int) -> int:
        """Return the number of samples that round ``number`` draws, before the batch remainder is carried."""
        if self.plan.oscillation:
            return self.plan.size(number)
        total, rounds = self._planned
        return (number + 1) * total // rounds - number * total // rounds

    @property
    def notes(self) -> tuple[str, ...]:
        """Options that look wrong under this plan but may be intended: one line each.

        In particular, options that have no effect under the plan. ``build`` also issues each line as a
        `SamplingWarning`.
        """
        return self.plan.notes if self.rounds == self.plan.rounds else ()

    @property
    def total(self) -> int:
        """Expected number of samples in the orders of the whole run.

        The plan's total; if feedback reports progress, an extrapolation of the orders so far.
        """
        before = self.plan.before(self.round)
        return min(self.plan.total, round(before / self._progress)) if self._progress else self.plan.total

    @abstractmethod
    def probabilities(self) -> NDArray[np.float64]:
        """Return each sample's probability of being drawn next, float64[N] of sum 1.

        For the next round, given the feedback so far; carried batch remainders are ignored.
        """

    @abstractmethod
    def draw(self, size: int) -> RoundDraft:
        """Draw ``size`` ids for round ``self.round``, after all feedback has been folded."""

    def fold(self, rows: FeedbackBuffer) -> None:  # noqa: B027  (a sampler without statistics folds nothing)
        """Fold rows into memory; the result mustn't depend on how rows are divided among calls."""

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that later orders depend on, by name."""
        return {}

    def load_memory(self, saved: dict[str, NDArray[Any]]) -> None:
        """Restore saved copies of those arrays; sizes are fixed unless a subclass overrides this."""
        for name, column in self.memory().items():
            column[...] = saved[name]

    def key(self, stream: str, number: int | None = None) -> np.uint64:
        """Return the key of this round's random numbers for one purpose."""
        return counter.make_key(self.plan.seed, stream, self.round if number is None else number)

    def fold_buffered(self) -> None:
        """Fold the buffered feedback; doing so early changes no result."""
        if self._rows.count:
            self.fold(self._rows)
            self._rows.clear()

    def next_order(self) -> Order:
        """Fold the feedback so far and return the next round's order."""
        if self.round >= self.rounds:
            raise SamplingError(
                f"next_order must be called at most {self.rounds} times, once per round of the plan; "
                f"got call {self.round + 1}: plan more rounds"
            )
        self.fold_buffered()
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

    def _join_weights(self, drawn: RoundDraft) -> NDArray[np.float32] | None:
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
            For ids outside the set, a progress outside [0, 1], or a missing statistic that the sampler uses.
        """
        if self.needs and len(feedback.ids):
            check_feedback(feedback, self.plan.samples, self.needs)
            self._rows.append(feedback)
            self._progress = feedback.progress

    def state_dict(self) -> State:
        """Return a copy of all state that the remaining orders depend on."""
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
            state[_SAVED.get(name, f"heard.{name}")] = self._rows[name].copy()
        for name, column in self.memory().items():
            state[f"memory.{name}"] = column.copy()
        return state

    def load_state_dict(self, state: State) -> None:
        """Restore the state of a sampler with the same options and plan.

        Raises
        ------
        SamplingError
            If options or plan differ, or another version saved it.
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
                "resume with the version that saved it, or start again"
            )
        self.round = int(state["round"])
        self._carry = np.array(state["carry.ids"], np.int64)
        weights = state.get("carry.weights")
        self._carry_weights = None if weights is None else np.array(weights, np.float32)
        self._progress = state.get("heard.progress")
        for name, column in self._rows.columns.items():
            self._rows.columns[name] = np.array(state[_SAVED.get(name, f"heard.{name}")], column.dtype)
        self._rows.count = len(self._rows.columns["ids"])
        self.load_memory({name: state[f"memory.{name}"] for name in self.memory()})

    def _plan_mark(self) -> str:
        plan = self.plan
        rounds = f"{self.rounds} rounds, batches of {plan.batch_size}"
        if plan.oscillation:
            rounds += f", oscillation {plan.oscillation} in phases of {plan.oscillation_rounds}"
        return f"{plan.total} of {plan.samples} samples, {rounds}, seed {plan.seed}"
