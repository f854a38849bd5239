"""Augmented samples on their way to a batch, cut and joined as rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import Batch


@dataclass(frozen=True, slots=True)
class Rows:
    """Augmented samples, not mixed, that wait for a batch to be full; their ids are known on the host."""

    ids: NDArray[np.int64]
    images: Tensor
    targets: Mapping[str, Tensor]
    weights: Tensor | None

    @classmethod
    def of(cls, light: Batch) -> Rows:
        """Return the samples of an augmented batch that the loader gave."""
        assert isinstance(light.ids, np.ndarray)
        return cls(light.ids, light.images, light.targets, light.weights)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice) -> Rows:
        targets = {name: values[part] for name, values in self.targets.items()}
        weights = None if self.weights is None else self.weights[part]
        return Rows(self.ids[part], self.images[part], targets, weights)

    def apart(self) -> Rows | None:
        """Return a copy, so that the whole pool's memory can be released; None where there are no rows."""
        if not len(self):
            return None
        targets = {name: values.clone() for name, values in self.targets.items()}
        weights = None if self.weights is None else self.weights.clone()
        return Rows(self.ids.copy(), self.images.clone(), targets, weights)

    def to(self, device: torch.device) -> Rows:
        """Return the same rows with their tensors on ``device``."""
        targets = {name: values.to(device) for name, values in self.targets.items()}
        weights = None if self.weights is None else self.weights.to(device)
        return Rows(self.ids, self.images.to(device), targets, weights)

    def __add__(self, other: Rows) -> Rows:
        weights = None
        if self.weights is not None or other.weights is not None:
            # Where one side's order has none, they are 1.
            sides = (
                rows.images.new_ones(len(rows), dtype=torch.float32) if rows.weights is None else rows.weights
                for rows in (self, other)
            )
            weights = torch.cat(tuple(sides))
        return Rows(
            np.concatenate((self.ids, other.ids)),
            torch.cat((self.images, other.images)),
            {name: torch.cat((values, other.targets[name])) for name, values in self.targets.items()},
            weights,
        )
