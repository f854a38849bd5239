"""How far predicted values are off on a labeled set: mean absolute and squared errors, and R2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOST_POINTS = 1_000
"""Images whose values are kept, evenly spread over the set."""


class ValueTally:
    """Sums over a labeled set, kept on the device until the report is made.

    Parameters
    ----------
    columns
        Values per image.
    """

    def __init__(self, columns: int, device: torch.device) -> None:
        self._columns = columns
        self._images = 0
        self._origin: Tensor | None = None
        self._sums = torch.zeros(5, columns, dtype=torch.float64, device=device)
        self._points = torch.zeros(0, 2, columns, device=device)
        self._stride = 1

    def add(self, answers: Tensor, targets: Tensor) -> None:
        """Count images.

        Parameters
        ----------
        answers
            float32[n, columns], the values that were predicted.
        targets
            float32[n, columns], or [n] for one, those that are true.
        """
        true = targets.reshape(-1, self._columns).double()
        if self._origin is None:
            # From near their mean: squares of large values that differ little would cancel.
            self._origin = true.mean(dim=0)
        errors, beyond = answers.double() - true, true - self._origin
        rows = (errors, errors.abs(), errors.square(), beyond, beyond.square())
        self._sums += torch.stack([row.sum(dim=0) for row in rows])
        # Every image at first, and every second of those that are kept once they are too many.
        kept = slice(-self._images % self._stride, None, self._stride)
        pairs = torch.stack([targets.reshape(-1, self._columns)[kept], answers[kept]], dim=1).float()
        self._points = torch.cat([self._points, pairs])
        while len(self._points) > MOST_POINTS:
            self._points, self._stride = self._points[::2], 2 * self._stride
        self._images += len(true)

    def report(self) -> ValueReport:
        """Return what was counted; waits for the device."""
        error, absolute, squared, beyond, spread = self._sums.cpu().numpy() / max(1, self._images)
        points = self._points.cpu().numpy()
        return ValueReport(self._images, error, absolute, squared, spread - beyond**2, points)


@dataclass(frozen=True, slots=True, eq=False)
class ValueReport:
    """Errors of predicted values on a labeled set.

    Attributes
    ----------
    images
        Images in all.
    bias, absolute, squared, variance
        float64[columns], means over images of the error (predicted less true), of its absolute value and of
        its square; variance of the true values.
    points
        float32[n, 2, columns], the true and the predicted values of some images, evenly spread over the set.
    """

    images: int
    bias: NDArray[np.float64]
    absolute: NDArray[np.float64]
    squared: NDArray[np.float64]
    variance: NDArray[np.float64]
    points: NDArray[np.float32]

    @property
    def root(self) -> NDArray[np.float64]:
        """float64[columns], root mean squared errors."""
        roots: NDArray[np.float64] = np.sqrt(self.squared)
        return roots

    @property
    def r2(self) -> NDArray[np.float64]:
        """float64[columns], coefficients of determination; NaN where all true values are equal."""
        parts = np.full(len(self.squared), np.nan)
        np.divide(self.squared, self.variance, out=parts, where=self.variance > 0)
        return 1 - parts

    def summary(self) -> dict[str, float]:
        """Return the figures for the whole set, by name: errors over all values, the mean of their R2."""
        r2 = self.r2[np.isfinite(self.r2)]
        return {
            "mean_absolute_error": float(self.absolute.mean()),
            "root_mean_squared_error": float(np.sqrt(self.squared.mean())),
            "r2": float(r2.mean()) if len(r2) else float("nan"),
            "mean_error": float(self.bias.mean()),
        }

    def table(self) -> dict[str, Any]:
        """Return everything, for JSON; what isn't defined is null there."""
        columns = {
            "mean_absolute_error": self.absolute,
            "root_mean_squared_error": self.root,
            "r2": self.r2,
            "mean_error": self.bias,
        }
        return {
            "images": self.images,
            **self.summary(),
            "values": [
                {"value": number + 1, **{name: float(values[number]) for name, values in columns.items()}}
                for number in range(len(self.absolute))
            ],
        }
