"""Samplers that take their rounds from a stream of sweeps over the set, or over part of it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplers.draws import counter
from samplers.draws.arrays import Floats, Ids
from samplers.draws.shuffle import permutation, shuffled
from samplers.families.history import Recent
from samplers.families.rounds import FeedbackBuffer, FeedbackConfig, RoundDraft, RoundSampler
from samplers.plan import Plan

_NO_IDS = np.empty(0, np.int64)


def stream(samples: int, seed: int, start: int, stop: int) -> Ids:
    """Return positions ``start`` to ``stop`` of the infinite stream of permutations of ``range(samples)``."""
    parts = [_NO_IDS]
    for number in range(start // samples, -(-stop // samples)):
        first = number * samples
        order = permutation(samples, counter.make_key(seed, "pass", number))
        parts.append(order[max(start - first, 0) : stop - first])
    return np.concatenate(parts)


def rest_of_sweep(samples: int, seed: int, start: int) -> NDArray[np.float64]:
    """Return each id's probability of being at position ``start`` of that stream, given all earlier ones."""
    first = start - start % samples
    left = np.ones(samples)
    left[stream(samples, seed, first, start)] = 0
    left /= left.sum()
    return left


@dataclass(frozen=True, slots=True)
class Sweep:
    """The samples of one sweep.

    Attributes
    ----------
    ids
        int64[n], in any order: the sweep is shuffled.
    weights
        float32[n] or None, as in ``Order``.
    hidden
        int64[m], samples left out of the sweep, to be scored at its end.
    lr_scale
        Factor on the learning rate during the sweep.
    until
        The sweep is cut once this many samples of the run have been drawn; None means never.
    """

    ids: Ids
    weights: Floats | None = None
    hidden: Ids | None = None
    lr_scale: float = 1.0
    until: int | None = None


class SweepSampler(RoundSampler):
    """Composes a new sweep whenever the last is used up; rounds of N * B are taken from the stream of sweeps.

    So a method that prunes keeps the budget exactly: samples saved in one sweep are spent on further sweeps.
    A sweep is composed in the round in which it begins, from all feedback before that round; where a round is
    longer than a sweep, sweeps that begin in the same round are based on the same feedback.
    """

    def __init__(self, part: FeedbackConfig, plan: Plan) -> None:
        super().__init__(part, plan)
        self.sweeps = 0
        self._ids: Ids = _NO_IDS
        self._weights: Floats = np.empty(0, np.float32)
        self._hidden: Ids = _NO_IDS
        self._lr_scale = 1.0

    @abstractmethod
    def compose(self, drawn: int) -> Sweep:
        """Return the next sweep, number ``self.sweeps``; ``drawn`` samples precede it in the run."""

    def inclusion(self, drawn: int) -> NDArray[np.float64]:
        """Return each sample's probability of being in the next sweep, float64[N].

        By default for the sweep as its random numbers will make it: 1 for samples in it, 0 for others.
        """
        chances = np.zeros(self.plan.samples)
        chances[self.compose(drawn).ids] = 1
        return chances

    def probabilities(self) -> NDArray[np.float64]:
        """Return each sample's probability of being drawn next: from the current sweep, or the next one."""
        self.fold_buffered()
        if len(self._ids):
            chances = np.bincount(self._ids, minlength=self.plan.samples).astype(np.float64)
        else:
            chances = self.inclusion(self.plan.before(self.round))
        chances /= chances.sum()
        return chances

    def draw(self, size: int) -> RoundDraft:
        """Take the round from the current sweep and as many new ones as it needs."""
        drawn = self.plan.before(self.round)
        ids, weights, scales = [_NO_IDS], [np.empty(0, np.float32)], 0.0
        missing = size
        while missing:
            if not len(self._ids):
                position = drawn + size - missing
                self._begin(self.compose(position), position)
            taken = min(missing, len(self._ids))
            ids.append(self._ids[:taken])
            weights.append(self._weights[:taken])
            self._ids, self._weights = self._ids[taken:], self._weights[taken:]
            scales += taken * self._lr_scale
            missing -= taken
        last = self.round + 1 >= self.rounds
        ends = not last and len(self._ids) < self.size(self.round + 1)
        joined = np.concatenate(weights)
        return RoundDraft(
            np.concatenate(ids),
            None if (joined == 1).all() else joined,
            self._hidden if ends and len(self._hidden) else None,
            scales / size if size else 1.0,
        )

    def _begin(self, new: Sweep, position: int) -> None:
        order = permutation(len(new.ids), self.key("pass", self.sweeps))
        if new.until is not None:
            order = order[: new.until - position]
        self._ids = new.ids[order]
        self._weights = np.ones(len(order), np.float32) if new.weights is None else new.weights[order]
        self._hidden = _NO_IDS if new.hidden is None else new.hidden
        self._lr_scale = new.lr_scale
        self.sweeps += 1

    def some(self, ids: Ids, size: int) -> Ids:
        """Return a uniformly random subset of ``size`` ids, for the sweep being composed."""
        return shuffled(ids, self.key("subset", self.sweeps))[:size]

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the rest of the current sweep, and the number of sweeps begun."""
        return {
            "passes": np.array(self.sweeps),
            "pending.ids": self._ids,
            "pending.weights": self._weights,
            "pending.hidden": self._hidden,
            "pending.lr_scale": np.array(self._lr_scale),
        }

    def load_memory(self, saved: dict[str, NDArray[Any]]) -> None:
        """Restore these arrays; the current sweep may have any length."""
        self.sweeps = int(saved["passes"])
        self._ids = np.array(saved["pending.ids"], np.int64)
        self._weights = np.array(saved["pending.weights"], np.float32)
        self._hidden = np.array(saved["pending.hidden"], np.int64)
        self._lr_scale = float(saved["pending.lr_scale"])


class LossSweepSampler(SweepSampler):
    """Base class of samplers whose sweeps depend on each sample's last loss."""

    def __init__(self, part: FeedbackConfig, plan: Plan) -> None:
        super().__init__(part, plan)
        self._loss = Recent(plan.samples)

    def fold(self, rows: FeedbackBuffer) -> None:
        """Update each sample's last loss."""
        self._loss.fold(rows["ids"], rows["loss"], rows["coefficient"])

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the last losses and the current sweep."""
        return {**super().memory(), **self._loss.columns()}

    def load_memory(self, saved: dict[str, NDArray[Any]]) -> None:
        """Restore these arrays."""
        super().load_memory(saved)
        self._loss.values[...] = saved["recent"]
