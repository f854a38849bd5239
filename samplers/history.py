"""Per-sample tables: what training said about each sample, as a struct of arrays.

Rows are folded in one after the other, so a table depends on the sequence of rows and not on how they were
cut into calls. A row's share is the part that its sample had in the image (1 for a plain image, lambda or
1 - lambda under mixup, the patch's area under RICAP); a row of share 0 says nothing and is skipped.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from samplers.errors import SamplingError

Column = NDArray[np.float32]


class Table(Protocol):
    """One statistic a sample."""

    def fold(self, ids: NDArray[np.int64], values: Column, shares: Column) -> None:
        """Take rows in; ids are known to be valid, a value that isn't finite is a SamplingError."""

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays themselves by name, for saving and loading."""


@njit(nogil=True)
def _fold_mean(ids, values, shares, weight, mean):  # type: ignore[no-untyped-def]
    for row in range(ids.size):
        share = shares[row]
        value = values[row]
        if share > 0:
            if not np.isfinite(value):
                return row
            i = ids[row]
            total = weight[i] + share
            if weight[i] == 0:
                mean[i] = value
            else:
                mean[i] += (value - mean[i]) * (share / total)
            weight[i] = total
    return -1


@njit(nogil=True)
def _fold_recent(ids, values, shares, rate, recent):  # type: ignore[no-untyped-def]
    for row in range(ids.size):
        share = shares[row]
        value = values[row]
        if share > 0:
            if not np.isfinite(value):
                return row
            i = ids[row]
            if np.isnan(recent[i]):
                recent[i] = value
            else:
                recent[i] += (value - recent[i]) * (share * rate)
    return -1


def check_row(row: int, ids: NDArray[np.int64], values: Column) -> None:
    """Raise the SamplingError for the row that a kernel stopped at; -1 means that it didn't."""
    if row >= 0:
        raise SamplingError(
            f"feedback must be finite; got {values[row]} for sample {ids[row]} (has training diverged?)"
        )


class Mean:
    """Share-weighted mean of everything heard about a sample; NaN where nothing was.

    Attributes
    ----------
    weight
        float32[N], sum of shares: the times seen.
    mean
        float32[N].
    """

    def __init__(self, samples: int) -> None:
        self.weight: Column = np.zeros(samples, np.float32)
        self.mean: Column = np.full(samples, np.nan, np.float32)

    def fold(self, ids: NDArray[np.int64], values: Column, shares: Column) -> None:
        """Take rows in."""
        check_row(_fold_mean(ids, values, shares, self.weight, self.mean), ids, values)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Return ``weight`` and ``mean``."""
        return {"weight": self.weight, "mean": self.mean}

    @property
    def values(self) -> Column:
        """The means."""
        return self.mean


class Recent:
    """Exponential moving average of what was heard about a sample; NaN where nothing was.

    A row of share s moves the average by ``rate * s`` of the way to its value: at rate 1 a plain row
    replaces the average, which then is the last value heard, and a row of a mixture replaces its share.

    Attributes
    ----------
    recent
        float32[N].
    """

    def __init__(self, samples: int, rate: float = 1.0) -> None:
        self.rate = np.float32(rate)
        self.recent: Column = np.full(samples, np.nan, np.float32)

    def fold(self, ids: NDArray[np.int64], values: Column, shares: Column) -> None:
        """Take rows in."""
        check_row(_fold_recent(ids, values, shares, self.rate, self.recent), ids, values)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Return ``recent``."""
        return {"recent": self.recent}

    @property
    def values(self) -> Column:
        """The averages."""
        return self.recent


def fill_unseen(values: Column) -> Column:
    """Give samples never heard of (NaN) the current maximum, or 1 where nothing was heard at all."""
    top = np.fmax.reduce(values)
    return np.where(np.isnan(values), np.float32(1) if np.isnan(top) else top, values)
