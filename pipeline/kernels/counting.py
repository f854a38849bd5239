"""Counts of a value's earlier occurrences in a sequence."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(nogil=True)
def count_earlier(values: NDArray[np.int64], seen: NDArray[np.int32], out: NDArray[np.int64]) -> None:
    """Set ``out[i]`` to the number of j < i with ``values[j] == values[i]``; ``seen`` starts as zeros."""
    for i in range(values.shape[0]):
        value = values[i]
        out[i] = seen[value]
        seen[value] += 1
