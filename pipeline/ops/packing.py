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
        Bytes of the block, a multiple of 16.
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
        return cls(tuple(entries), max(1, -(-end // _ALIGNMENT)) * _ALIGNMENT)

    def fill(self, block: NDArray[np.uint8], arrays: Sequence[NDArray[Any]]) -> None:
        """Copy the arrays into a block, uint8[size]."""
        for array, there in zip(arrays, self.arrays(block), strict=True):
            there[...] = array

    def arrays(self, block: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Return the arrays as views of a block, uint8[size]."""
        return [
            block[first : first + dtype.itemsize * math.prod(shape)].view(dtype).reshape(shape)
            for dtype, shape, first in self.entries
        ]

    def tensors(self, block: Tensor) -> list[Tensor]:
        """Return the arrays as tensors that are views of a block, uint8[size] with memory of its own."""
        whole = {dtype: block.view(_of_torch(dtype)) for dtype in {entry[0] for entry in self.entries}}
        # One operation per tensor: slicing, then viewing as dtype and shape, takes three times as long.
        return [
            whole[dtype].as_strided(shape, _strides(shape), first // dtype.itemsize)
            for dtype, shape, first in self.entries
        ]


def packed(arrays: Sequence[NDArray[Any]]) -> tuple[NDArray[np.uint8], Layout]:
    """Copy arrays into one block.

    Returns
    -------
    block
        uint8[size].
    layout
        Where the arrays stand in it.
    """
    layout = Layout.of(arrays)
    block = np.zeros(layout.size, np.uint8)
    layout.fill(block, arrays)
    return block, layout


@cache
def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a contiguous tensor, in elements."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


@cache
def _of_torch(dtype: np.dtype[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype
