"""Packing: arrays of any shapes and dtypes as one block of bytes, and back as views of it.

A copy to a device costs some ten microseconds, however little is copied, and a batch's draws, targets and
weights are dozens of small arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ALIGNMENT = 16
"""Bytes: as wide as the widest access of a kernel."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where arrays stand within a block.

    Attributes
    ----------
    entries
        Dtype, shape and first byte of each array.
    size
        Bytes of the block, at least 1.
    """

    entries: tuple[tuple[np.dtype[Any], tuple[int, ...], int], ...]
    size: int

    @classmethod
    def of(cls, arrays: Sequence[NDArray[Any]]) -> Layout:
        """Return the layout of arrays one behind the other."""
        entries, end = [], 0
        for array in arrays:
            first = -(-end // _ALIGNMENT) * _ALIGNMENT
            entries.append((array.dtype, array.shape, first))
            end = first + array.nbytes
        return cls(tuple(entries), max(1, end))

    def arrays(self, block: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Return the arrays as views of a block, uint8[size]."""
        return [
            block[first : first + dtype.itemsize * math.prod(shape)].view(dtype).reshape(shape)
            for dtype, shape, first in self.entries
        ]

    def tensors(self, block: Tensor) -> list[Tensor]:
        """Return the arrays as tensors that are views of a block, uint8[size], on its device."""
        return [
            block[first : first + dtype.itemsize * math.prod(shape)].view(_of_torch(dtype)).view(shape)
            for dtype, shape, first in self.entries
        ]


def packed(
    arrays: Sequence[NDArray[Any]], block: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.uint8], Layout]:
    """Copy arrays into one block.

    Parameters
    ----------
    block
        uint8, at least as long as they need; by default a new one.

    Returns
    -------
    block
        uint8[size].
    layout
        Where the arrays stand in it.
    """
    layout = Layout.of(arrays)
    if block is None:
        block = np.zeros(layout.size, np.uint8)
    for array, there in zip(arrays, layout.arrays(block), strict=True):
        there[...] = array
    return block, layout


@cache
def _of_torch(dtype: np.dtype[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype
