"""Pool of host memory for batches, reused once a batch is released."""

from __future__ import annotations

import math
import sys
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_KEPT = 8
"""Maximum number of blocks kept: the batches read ahead, and some held by the consumer."""


class Blocks:
    """Allocates uint8 tensors in memory without other references, reusing earlier blocks if possible.

    Memory fresh from the operating system costs more than the batch of small images that is copied into it:
    every page is zeroed on first access. PyTorch caches pinned memory, but no other memory on the host.
    Safe to use from several threads.
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
                # Referenced only by the list and this call: a tensor, and every view of one, would hold it
                # too.
                if self._blocks[at].size == size and sys.getrefcount(self._blocks[at]) == 2:
                    return torch.from_numpy(self._blocks[at]).view(shape)
            block: NDArray[np.uint8] = np.empty(size, np.uint8)
            self._blocks = [block, *self._blocks[: _KEPT - 1]]
        return torch.from_numpy(block).view(shape)
