"""Tables of per-sample training statistics, as structs of arrays.

Rows are folded in sequentially, so a table depends on the sequence of rows and not on how they are divided
among calls. A row's coefficient is its sample's mixing coefficient (1 for a plain image, lambda or 1 - lambda
under mixup, the patch's area under RICAP); rows of coefficient 0 are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from samplers.draws.arrays import Floats, Ids
from samplers.errors import SamplingError
from samplers.families import folds


class Table:
    """Per-sample statistics, in columns of float32[N].

    Parameters
    ----------
    samples
        N.
    rates
        float32 constants of the kernel.
    relative
        Divide each value by its row's coefficient, and clip to 1: a probability p of a sample of coefficient
        s counts as min(1, p / s).
    columns
        The columns' names and initial values.
    """

    _kernel: ClassVar[Callable[..., int]]
    """Folds in rows (ids, values, coefficients, rates, columns); returns the first non-finite row, or -1."""

    def __init__(self, samples: int, *rates: float, relative: bool = False, **columns: float) -> None:
        self._relative = relative
        self._rates = tuple(np.float32(rate) for rate in rates)
        self._columns = {name: np.full(samples, start, np.float32) for name, start in columns.items()}

    def fold(self, ids: Ids, values: Floats, coefficients: Floats) -> None:
        """Fold rows in sequentially.

        Parameters
        ----------
        ids
            int64[n], already validated.
        values, coefficients
            float32[n].

        Raises
        ------
        SamplingError
            For a non-finite value in a row of coefficient above 0.
        """
        if self._relative:
            over = np.divide(values, coefficients, out=values.copy(), where=coefficients > 0)
            values = np.minimum(over, np.float32(1), out=over)
        row = self._kernel(ids, values, coefficients, *self._rates, *self._columns.values())
        if row >= 0:
            raise SamplingError(
                f"feedback must be finite; got {values[row]} for sample {ids[row]} (has training diverged?)"
            )

    def columns(self) -> dict[str, Floats]:
        """Return the arrays by name, not copied, for saving and loading."""
        return dict(self._columns)


class Mean(Table):
    """Coefficient-weighted mean of all values of a sample; NaN for samples without any.

    Columns: ``weight``, the sum of coefficients (the number of times seen), and ``mean``.
    """

    _kernel = staticmethod(folds.fold_mean)

    def __init__(self, samples: int, *, relative: bool = False) -> None:
        super().__init__(samples, relative=relative, weight=0, mean=np.nan)

    @property
    def values(self) -> Floats:
        """The means, float32[N]."""
        return self._columns["mean"]


class Recent(Table):
    """Exponential moving average of a sample's values; NaN for samples without any.

    A row of coefficient s moves the average by ``rate * s`` of the distance to its value: at rate 1 a plain
    row replaces the average, which is then the last value, and a row of a mixture replaces a fraction s of
    it. Column: ``recent``.
    """

    _kernel = staticmethod(folds.fold_recent)

    def __init__(self, samples: int, rate: float = 1.0, *, relative: bool = False) -> None:
        super().__init__(samples, rate, relative=relative, recent=np.nan)

    @property
    def values(self) -> Floats:
        """The averages, float32[N]."""
        return self._columns["recent"]


class Moments(Table):
    """Coefficient-weighted mean and scatter of all values of a sample (West 1979).

    Columns: ``weight`` and ``square``, the sums of the coefficients and of their squares; ``mean``; and
    ``scatter``, the coefficient-weighted sum of squared deviations from it.
    """

    _kernel = staticmethod(folds.fold_moments)

    def __init__(self, samples: int) -> None:
        super().__init__(samples, weight=0, square=0, mean=0, scatter=0)

    def count(self) -> Floats:
        """Return n, float32[N]: the number of rows, or (sum of s)^2 / (sum of s^2) of mixed ones."""
        weight, square = self._columns["weight"], self._columns["square"]
        count: Floats = np.zeros_like(weight)
        np.divide(weight**2, square, out=count, where=square > 0)
        return count

    def variance(self) -> Floats:
        """Return the unbiased variances, float32[N]; NaN for samples with fewer than two rows."""
        count = self.count()
        free = self._columns["weight"] * (1 - np.divide(1, count, out=np.ones_like(count), where=count > 0))
        # 1.0001: one row's count exceeds 1 by rounding only; two of any coefficients have more.
        variance: Floats = np.full_like(free, np.nan)
        np.divide(self._columns["scatter"], free, out=variance, where=count > 1.0001)
        return variance


class Tracked(Table):
    """Moving average, moving variance, and the number of times seen.

    Columns: ``weight``, the sum of coefficients; ``recent``, an exponential moving average as in ``Recent``;
    and ``variance``, a moving average at the same rate of squared deviations from the previous average.
    """

    _kernel = staticmethod(folds.fold_tracked)

    def __init__(self, samples: int, rate: float) -> None:
        super().__init__(samples, rate, weight=0, recent=np.nan, variance=0)

    @property
    def weight(self) -> Floats:
        """Number of times seen, float32[N]."""
        return self._columns["weight"]

    @property
    def recent(self) -> Floats:
        """The averages, float32[N]; NaN for samples not seen."""
        return self._columns["recent"]

    @property
    def variance(self) -> Floats:
        """The moving variances, float32[N]."""
        return self._columns["variance"]


class Change(Table):
    """Moving average of the absolute change between successive values of a sample.

    Columns: ``last``, the last value, which a row of coefficient s moves by a fraction s of the distance; and
    ``change``, an exponential moving average of min(abs(value - last), ``most``), NaN for samples with fewer
    than two rows.
    """

    _kernel = staticmethod(folds.fold_change)

    def __init__(self, samples: int, rate: float, most: float) -> None:
        super().__init__(samples, rate, most, last=np.nan, change=np.nan)

    @property
    def values(self) -> Floats:
        """The changes, float32[N]."""
        return self._columns["change"]


class Evolved(Table):
    """Moving average of a sample's values, and a weight that leads it.

    Columns: ``score``, the average, which a row of coefficient s moves by ``s * score_rate`` of the distance
    to its value; and ``weight``, the average before the row moved by ``s * weight_rate`` of that distance,
    NaN for samples without any row.
    """

    _kernel = staticmethod(folds.fold_evolved)

    def __init__(self, samples: int, weight_rate: float, score_rate: float, start: float) -> None:
        super().__init__(samples, weight_rate, score_rate, weight=np.nan, score=start)

    @property
    def weights(self) -> Floats:
        """The weights, float32[N]."""
        return self._columns["weight"]


def fill_unseen(values: Floats) -> Floats:
    """Replace NaN (samples not seen) by the current maximum, or by 1 if all are NaN."""
    top = np.fmax.reduce(values)
    return np.where(np.isnan(values), np.float32(1) if np.isnan(top) else top, values)
