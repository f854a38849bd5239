"""Host memory for batches, used again once nobody holds the batch."""

from __future__ import annotations

import math
import sys
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_KEPT = 8
"""Blocks kept at most: those of the batches that are read ahead, and some in the consumer's hands."""


class Blocks:
    """Allocates uint8 tensors in memory that nobody else holds, if possible in memory that was given before.

    Memory fresh from the operating system costs more than the batch of small images that is copied into it:
    every page is filled with zeros when it is touched. PyTorch keeps a stock of pinned memory, and none of
    other memory on the host. Used by several threads at once.
    """

    def __init__(self, *, pinned: bool) -> None:
        self._pinned = pinned
        self._lock = Lock()
        self._blocks: list[NDArray[np.uint8]] = []

    def empty(self, *shape: int) -> Tensor:
        """Return a contiguous tensor, its contents undefined."""
        if self._pinned:
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        size = math.prod(shape)
        with self._lock:
            for at in range(len(self._blocks)):
                # Held by the list and by the call alone: a tensor, and every view of one, holds it too.
                if self._blocks[at].size == size and sys.getrefcount(self._blocks[at]) == 2:
                    return torch.from_numpy(self._blocks[at]).view(shape)
            block: NDArray[np.uint8] = np.empty(size, np.uint8)
            self._blocks = [block, *self._blocks[: _KEPT - 1]]
        return torch.from_numpy(block).view(shape)
