"""Stratified split of a validation set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hold_out(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Choose a ``fraction`` of every class at random: bool[n], True for the validation set.

    A class of at least 2 samples keeps one on either side, and a class of one stays in training. The
    choice from a class depends only on (seed, label, the class's size).

    >>> int(hold_out(np.array([0, 0, 0, 0, 1, 1, 2]), 0.25, seed=0).sum())
    2
    """
    chosen = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            count = min(max(int(len(members) * fraction + 0.5), 1), len(members) - 1)
            keys = np.random.default_rng([seed, int(label)]).random(len(members))
            chosen[members[np.argsort(keys)[:count]]] = True
    return chosen
