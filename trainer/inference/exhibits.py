"""Exhibits: the images that a network answers most wrongly, kept while it is evaluated."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Exhibit:
    """An image that was answered wrongly.

    Attributes
    ----------
    index
        Its number in the set.
    wrongness
        How wrong the answer is; see `trainer.inference.tasks.Task.wrongness`.
    answers, target
        float32[C], as the network's task has its answers, and the image's target.
    """

    index: int
    wrongness: float
    answers: NDArray[np.float32]
    target: Any


class Exhibits:
    """The most wrongly answered images of a set; memory doesn't grow with the set.

    Parameters
    ----------
    most
        How many to keep.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[Exhibit] = []

    def add(self, indices: NDArray[np.int64], wrongness: Tensor, answers: Tensor, targets: Tensor) -> None:
        """Consider images; waits for the device.

        Parameters
        ----------
        indices
            int64[n], their numbers in the set.
        wrongness
            float32[n], 0 for right answers.
        answers, targets
            Of n images.
        """
        values, order = wrongness.topk(min(self._most, len(wrongness)))
        rows, wanted = answers[order].float().cpu().numpy(), targets[order].cpu().numpy()
        for value, at, row, target in zip(values.tolist(), order.tolist(), rows, wanted, strict=True):
            if value > 0:
                self._kept.append(Exhibit(int(indices[at]), value, row, target))
        self._kept = heapq.nlargest(self._most, self._kept, key=_rank)

    def worst(self) -> list[Exhibit]:
        """Return the images that were kept, the most wrongly answered first."""
        return list(self._kept)


def _rank(exhibit: Exhibit) -> tuple[float, int]:
    """Return what exhibits are ordered by: of equally wrong ones the first of the set goes first."""
    return exhibit.wrongness, -exhibit.index
