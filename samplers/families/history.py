"""Per-sample tables: what training said about each sample, as a struct of arrays.

Rows are folded in one after the other, so a table depends on the sequence of rows and not on how they were
cut into calls. A row's share is the part that its sample had in the image (1 for a plain image, lambda or
1 - lambda under mixup, the patch's area under RICAP); a row of share 0 says nothing and is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numba import njit

from samplers.draws.arrays import Floats, Ids
from samplers.errors import SamplingError

# Each kernel has a loop of its own: one loop that is given the rule as a function and the columns as a tuple
# took up to six times as long.


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


class Table:
    """Statistics of samples, in columns of float32[N].

    Parameters
    ----------
    samples
        N.
    rates
        float32 constants of the kernel.
    relative
        Fold each value over its row's share, at most 1, in place of the value: a probability p of a sample of
        share s counts as min(1, p / s).
    columns
        The columns' names, and the value that each starts from.
    """

    _kernel: ClassVar[Callable[..., int]]
    """Folds rows in, given ids, values, shares, rates and columns; gives the first not finite, or -1."""

    def __init__(self, samples: int, *rates: float, relative: bool = False, **columns: float) -> None:
        self._relative = relative
        self._rates = tuple(np.float32(rate) for rate in rates)
        self._columns = {name: np.full(samples, start, np.float32) for name, start in columns.items()}

    def fold(self, ids: Ids, values: Floats, shares: Floats) -> None:
        """Take rows in, one after the other.

        Parameters
        ----------
        ids
            int64[n], known to be valid.
        values, shares
            float32[n].

        Raises
        ------
        SamplingError
            For a value that isn't finite, of a row with a share.
        """
        if self._relative:
            over = np.divide(values, shares, out=values.copy(), where=shares > 0)
            values = np.minimum(over, np.float32(1), out=over)
        row = self._kernel(ids, values, shares, *self._rates, *self._columns.values())
        if row >= 0:
            raise SamplingError(
                f"feedback must be finite; got {values[row]} for sample {ids[row]} (has training diverged?)"
            )

    def columns(self) -> dict[str, Floats]:
        """Return the arrays themselves by name, for saving and loading."""
        return dict(self._columns)


class Mean(Table):
    """Share-weighted mean of everything heard about a sample; NaN where nothing was.

    Columns: ``weight``, the sum of shares, which is the times seen, and ``mean``.
    """

    _kernel = staticmethod(_fold_mean)

    def __init__(self, samples: int, *, relative: bool = False) -> None:
        super().__init__(samples, relative=relative, weight=0, mean=np.nan)

    @property
    def values(self) -> Floats:
        """The means, float32[N]."""
        return self._columns["mean"]


class Recent(Table):
    """Exponential moving average of what was heard about a sample; NaN where nothing was.

    A row of share s moves the average by ``rate * s`` of the way to its value: at rate 1 a plain row
    replaces the average, which then is the last value heard, and a row of a mixture replaces its share.
    Column: ``recent``.
    """

    _kernel = staticmethod(_fold_recent)

    def __init__(self, samples: int, rate: float = 1.0, *, relative: bool = False) -> None:
        super().__init__(samples, rate, relative=relative, recent=np.nan)

    @classmethod
    def over(cls, recent: Floats) -> Recent:
        """A table of last values that keeps them in ``recent``, float32[N], as the caller has it."""
        table = cls(0)
        table._columns["recent"] = recent
        return table

    @property
    def values(self) -> Floats:
        """The averages, float32[N]."""
        return self._columns["recent"]


class Moments(Table):
    """Share-weighted mean and scatter of everything heard about a sample (West 1979).

    Columns: ``weight`` and ``square``, the sums of the shares and of their squares; ``mean``; and
    ``scatter``, the share-weighted sum of squared deviations from it.
    """

    _kernel = staticmethod(_fold_moments)

    def __init__(self, samples: int) -> None:
        super().__init__(samples, weight=0, square=0, mean=0, scatter=0)

    def count(self) -> Floats:
        """Return n, float32[N]: times heard, (sum of shares)^2 / sum of squared shares where they differ."""
        weight, square = self._columns["weight"], self._columns["square"]
        count: Floats = np.zeros_like(weight)
        np.divide(weight**2, square, out=count, where=square > 0)
        return count

    def variance(self) -> Floats:
        """Return the unbiased variances, float32[N]; NaN where fewer than two rows were heard."""
        count = self.count()
        free = self._columns["weight"] * (1 - np.divide(1, count, out=np.ones_like(count), where=count > 0))
        # Below 1 by rounding of the shares only: two rows of any shares have a count above 1.
        variance: Floats = np.full_like(free, np.nan)
        np.divide(self._columns["scatter"], free, out=variance, where=count > 1.0001)
        return variance


class Tracked(Table):
    """Recent average, the spread about it, and the times heard.

    Columns: ``weight``, the sum of shares; ``recent``, an exponential moving average as in ``Recent``; and
    ``variance``, a moving average at the same rate of squared distances from the average before.
    """

    _kernel = staticmethod(_fold_tracked)

    def __init__(self, samples: int, rate: float) -> None:
        super().__init__(samples, rate, weight=0, recent=np.nan, variance=0)

    @property
    def weight(self) -> Floats:
        """Times heard, float32[N]."""
        return self._columns["weight"]

    @property
    def recent(self) -> Floats:
        """The averages, float32[N]; NaN where nothing was heard."""
        return self._columns["recent"]

    @property
    def variance(self) -> Floats:
        """The spread about them, float32[N]."""
        return self._columns["variance"]


class Change(Table):
    """Moving average of how far a sample's value moved between two times that it was heard.

    Columns: ``last``, the last value heard, which a row of share s moves by s of the way; and ``change``, an
    exponential moving average of abs(value - last), each at most ``most``, NaN where fewer than two rows were
    heard.
    """

    _kernel = staticmethod(_fold_change)

    def __init__(self, samples: int, rate: float, most: float) -> None:
        super().__init__(samples, rate, most, last=np.nan, change=np.nan)

    @property
    def values(self) -> Floats:
        """The changes, float32[N]."""
        return self._columns["change"]


def fill_unseen(values: Floats) -> Floats:
    """Give samples never heard of (NaN) the current maximum, or 1 where nothing was heard at all."""
    top = np.fmax.reduce(values)
    return np.where(np.isnan(values), np.float32(1) if np.isnan(top) else top, values)
