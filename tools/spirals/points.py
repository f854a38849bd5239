"""Points of two spirals, by the formula of playground.tensorflow.org."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LABELLED, UNLABELLED, TESTED = 25, 200, 1000
"""Points per spiral with a label, without, and for testing."""

EXTENT = 6.0
"""The plane is [-6, 6]^2: spirals reach to 5."""

MAP, REGULAR = 201, 32
"""Points per side of the maps, and of the regularly spaced points of figure 2.3."""


@dataclass(frozen=True, slots=True)
class Points:
    """Points of the plane.

    Attributes
    ----------
    labelled, unlabelled, tested
        float32[n, 2].
    labels, test_labels
        int64[n], 0 or 1: the spiral.
    hidden
        int64[n], the spirals of the unlabelled points, for the variant that knows them.
    """

    labelled: Tensor
    labels: Tensor
    unlabelled: Tensor
    hidden: Tensor
    tested: Tensor
    test_labels: Tensor


def spirals(
    count: int, noise: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return ``count`` points of each of two spirals, float64[2 count, 2], and each one's spiral.

    Point i of a spiral lies at radius 5 i / count and angle 1.75 * 2 pi i / count, half a turn further for
    the second; ``noise`` times a uniform number of [-1, 1) is added to both coordinates.
    """
    at = np.arange(count) / count
    found = []
    for delta in (0.0, np.pi):
        radius, angle = 5 * at, 1.75 * 2 * np.pi * at + delta
        shift = noise * rng.uniform(-1, 1, (2, count))
        found.append(np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1) + shift.T)
    return np.concatenate(found), np.repeat(np.arange(2), count)


def make_points(seed: int, noise: float = 0.0) -> Points:
    """Return the points of a seed: 25 per spiral, drawn at random, with their labels, and 200 without."""
    rng = np.random.default_rng([2, seed])
    places, labels = spirals(LABELLED + UNLABELLED, noise, rng)
    with_label = np.zeros(len(labels), dtype=np.bool_)
    for label in (0, 1):
        with_label[rng.permutation(np.flatnonzero(labels == label))[:LABELLED]] = True
    tested, test_labels = spirals(TESTED, 0.0, rng)

    def tensor(values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values.astype(np.float32))

    return Points(
        tensor(places[with_label]),
        torch.from_numpy(labels[with_label]),
        tensor(places[~with_label]),
        torch.from_numpy(labels[~with_label]),
        tensor(tested),
        torch.from_numpy(test_labels),
    )


def grid(side: int) -> Tensor:
    """Return ``side`` by ``side`` points of the plane, float32[side^2, 2], rows from below."""
    line = torch.linspace(-EXTENT, EXTENT, side)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)
