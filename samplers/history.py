"""Per-sample tables: what training said about each sample, as a struct of arrays.

Rows are folded in one after the other, so a table depends on the sequence of rows and not on how they were
cut into calls. A row's share is the part that its sample had in the image (1 for a plain image, lambda or
1 - lambda under mixup, the patch's area under RICAP); a row of share 0 says nothing and is skipped.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numba import njit

from samplers.arrays import Floats, Ids
from samplers.errors import SamplingError


class Table(Protocol):
    """One statistic a sample."""

    def fold(self, ids: Ids, values: Floats, shares: Floats) -> None:
        """Take rows in; ids are known to be valid, a value that isn't finite is a SamplingError."""

    def columns(self) -> dict[str, Floats]:
        """Return the arrays themselves by name, for saving and loading."""


@njit(nogil=True)
def _fold_mean(ids: Ids, values: Floats, shares: Floats, weight: Floats, mean: Floats) -> int:
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
def _fold_recent(ids: Ids, values: Floats, shares: Floats, rate: np.float32, recent: Floats) -> int:
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


@njit(nogil=True)
def _fold_moments(
    ids: Ids, values: Floats, shares: Floats, weight: Floats, square: Floats, mean: Floats, scatter: Floats
) -> int:
    for row in range(ids.size):
        share = shares[row]
        value = values[row]
        if share > 0:
            if not np.isfinite(value):
                return row
            i = ids[row]
            total = weight[i] + share
            gap = value - mean[i]
            mean[i] += gap * (share / total)
            scatter[i] += share * gap * (value - mean[i])
            weight[i] = total
            square[i] += share * share
    return -1


@njit(nogil=True)
def _fold_tracked(
    ids: Ids,
    values: Floats,
    shares: Floats,
    rate: np.float32,
    weight: Floats,
    recent: Floats,
    variance: Floats,
) -> int:
    for row in range(ids.size):
        share = shares[row]
        value = values[row]
        if share > 0:
            if not np.isfinite(value):
                return row
            i = ids[row]
            weight[i] += share
            if np.isnan(recent[i]):
                recent[i] = value
            else:
                gap = value - recent[i]
                variance[i] += (gap * gap - variance[i]) * (share * rate)
                recent[i] += gap * (share * rate)
    return -1


@njit(nogil=True)
def _fold_change(
    ids: Ids, values: Floats, shares: Floats, rate: np.float32, most: np.float32, last: Floats, change: Floats
) -> int:
    for row in range(ids.size):
        share = shares[row]
        value = values[row]
        if share > 0:
            if not np.isfinite(value):
                return row
            i = ids[row]
            if np.isnan(last[i]):
                last[i] = value
            else:
                step = np.float32(min(abs(value - last[i]), most))
                change[i] = step if np.isnan(change[i]) else change[i] + (step - change[i]) * (share * rate)
                last[i] += (value - last[i]) * share
    return -1


def check_row(row: int, ids: Ids, values: Floats) -> None:
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
        self.weight: Floats = np.zeros(samples, np.float32)
        self.mean: Floats = np.full(samples, np.nan, np.float32)

    def fold(self, ids: Ids, values: Floats, shares: Floats) -> None:
        """Take rows in."""
        check_row(_fold_mean(ids, values, shares, self.weight, self.mean), ids, values)

    def columns(self) -> dict[str, Floats]:
        """Return ``weight`` and ``mean``."""
        return {"weight": self.weight, "mean": self.mean}

    @property
    def values(self) -> Floats:
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
        self.recent: Floats = np.full(samples, np.nan, np.float32)

    def fold(self, ids: Ids, values: Floats, shares: Floats) -> None:
        """Take rows in."""
        check_row(_fold_recent(ids, values, shares, self.rate, self.recent), ids, values)

    def columns(self) -> dict[str, Floats]:
        """Return ``recent``."""
        return {"recent": self.recent}

    @property
    def values(self) -> Floats:
        """The averages."""
        return self.recent


class Moments:
    """Share-weighted mean and scatter of everything heard about a sample (West 1979).

    Attributes
    ----------
    weight, square
        float32[N], sums of the shares and of their squares.
    mean, scatter
        float32[N], mean and share-weighted sum of squared deviations from it.
    """

    def __init__(self, samples: int) -> None:
        self.weight: Floats = np.zeros(samples, np.float32)
        self.square: Floats = np.zeros(samples, np.float32)
        self.mean: Floats = np.zeros(samples, np.float32)
        self.scatter: Floats = np.zeros(samples, np.float32)

    def fold(self, ids: Ids, values: Floats, shares: Floats) -> None:
        """Take rows in."""
        check_row(_fold_moments(ids, values, shares, *self.columns().values()), ids, values)

    def columns(self) -> dict[str, Floats]:
        """Return ``weight``, ``square``, ``mean`` and ``scatter``."""
        return {"weight": self.weight, "square": self.square, "mean": self.mean, "scatter": self.scatter}

    def count(self) -> Floats:
        """Return n, float32[N]: times heard, (sum of shares)^2 / sum of squared shares where they differ."""
        count: Floats = np.zeros_like(self.weight)
        np.divide(self.weight**2, self.square, out=count, where=self.square > 0)
        return count

    def variance(self) -> Floats:
        """Return the unbiased variances, float32[N]; NaN where fewer than two rows were heard."""
        count = self.count()
        free = self.weight * (1 - np.divide(1, count, out=np.ones_like(count), where=count > 0))
        # Below 1 by rounding of the shares only: two rows of any shares have a count above 1.
        variance: Floats = np.full_like(free, np.nan)
        np.divide(self.scatter, free, out=variance, where=count > 1.0001)
        return variance


class Tracked:
    """Recent average, the spread about it, and the times heard.

    Attributes
    ----------
    weight
        float32[N], sum of shares.
    recent
        float32[N], exponential moving average as in ``Recent``; NaN where nothing was heard.
    variance
        float32[N], moving average, at the same rate, of squared distances from the average before.
    """

    def __init__(self, samples: int, rate: float) -> None:
        self.rate = np.float32(rate)
        self.weight: Floats = np.zeros(samples, np.float32)
        self.recent: Floats = np.full(samples, np.nan, np.float32)
        self.variance: Floats = np.zeros(samples, np.float32)

    def fold(self, ids: Ids, values: Floats, shares: Floats) -> None:
        """Take rows in."""
        check_row(_fold_tracked(ids, values, shares, self.rate, *self.columns().values()), ids, values)

    def columns(self) -> dict[str, Floats]:
        """Return ``weight``, ``recent`` and ``variance``."""
        return {"weight": self.weight, "recent": self.recent, "variance": self.variance}


class Change:
    """Moving average of how far a sample's value moved between two times that it was heard.

    Attributes
    ----------
    last
        float32[N], the last value heard; a row of share s moves it by s of the way.
    change
        float32[N], exponential moving average of abs(value - last), each at most ``most``; NaN where fewer
        than two rows were heard.
    """

    def __init__(self, samples: int, rate: float, most: float) -> None:
        self.rate = np.float32(rate)
        self.most = np.float32(most)
        self.last: Floats = np.full(samples, np.nan, np.float32)
        self.change: Floats = np.full(samples, np.nan, np.float32)

    def fold(self, ids: Ids, values: Floats, shares: Floats) -> None:
        """Take rows in."""
        bounds = self.rate, self.most
        check_row(_fold_change(ids, values, shares, *bounds, *self.columns().values()), ids, values)

    def columns(self) -> dict[str, Floats]:
        """Return ``last`` and ``change``."""
        return {"last": self.last, "change": self.change}

    @property
    def values(self) -> Floats:
        """The changes."""
        return self.change


def fill_unseen(values: Floats) -> Floats:
    """Give samples never heard of (NaN) the current maximum, or 1 where nothing was heard at all."""
    top = np.fmax.reduce(values)
    return np.where(np.isnan(values), np.float32(1) if np.isnan(top) else top, values)
