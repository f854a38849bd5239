"""Lightly augmented samples on their way to a batch, cut and joined as rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import Batch


@dataclass(frozen=True, slots=True)
class Rows:
    """Lightly augmented samples that wait for a batch to be full; their ids are known on the host."""

    ids: NDArray[np.int64]
    images: Tensor
    labels: Tensor
    weights: Tensor | None

    @classmethod
    def of(cls, light: Batch) -> Rows:
        """Give the samples of a lightly augmented batch."""
        weights = None if light.weights is None else light.weights[:, 0]
        return cls(light.ids, light.images, light.labels[:, 0], weights)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice) -> Rows:
        weights = None if self.weights is None else self.weights[part]
        return Rows(self.ids[part], self.images[part], self.labels[part], weights)

    def apart(self) -> Rows | None:
        """Give the same in memory of its own, so as not to keep a whole pool's; None where there are none."""
        if not len(self):
            return None
        weights = None if self.weights is None else self.weights.clone()
        return Rows(self.ids.copy(), self.images.clone(), self.labels.clone(), weights)

    def __add__(self, other: Rows) -> Rows:
        weights = None
        if self.weights is not None or other.weights is not None:
            # Where one side's order has none, they are 1.
            sides = (
                torch.ones_like(rows.labels, dtype=torch.float32) if rows.weights is None else rows.weights
                for rows in (self, other)
            )
            weights = torch.cat(tuple(sides))
        return Rows(
            np.concatenate((self.ids, other.ids)),
            torch.cat((self.images, other.images)),
            torch.cat((self.labels, other.labels)),
            weights,
        )
