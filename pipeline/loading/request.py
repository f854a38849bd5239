"""Requests: orders, validated against their data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.engines import Dataset
from pipeline.engines.protocol import check_ids
from pipeline.errors import DataError
from pipeline.randomness import occurrences
from pipeline.resolution import Stage
from pipeline.views import Views


class OrderLike(Protocol):
    """An order as the loader sees it: ``samplers.Order``, or any object with these attributes."""

    @property
    def round(self) -> int:
        """The round's number, from 0."""

    @property
    def ids(self) -> NDArray[np.int64]:
        """int64[n], any length, duplicates allowed."""

    @property
    def weights(self) -> NDArray[np.float32] | None:
        """float32[n], loss multipliers; None means all 1."""


@dataclass(frozen=True, slots=True)
class Request:
    """A validated order of a round, with the data that its batches depend on together.

    Attributes
    ----------
    occurrences
        int64[n], the number of earlier occurrences of each id in the order.
    views
        Augmentation to draw parameters for; None draws nothing.
    """

    round: int
    ids: NDArray[np.int64]
    weights: NDArray[np.float32] | None
    occurrences: NDArray[np.int64]
    views: Views | None
    stage: Stage

    def steps(self, batch_size: int) -> int:
        """Return the number of batches; the last one may be short."""
        return -(-len(self.ids) // batch_size)


def checked(order: OrderLike, dataset: Dataset, views: Views | None, stage: Stage) -> Request:
    """Return an order as a request.

    Raises
    ------
    DataError
        On ids outside of the data set or of another type or shape, and weights of another length.
    """
    if order.ids.ndim != 1 or order.ids.dtype.kind not in "iu":
        raise DataError(
            f"an order's ids must be whole numbers in one dimension; got {order.ids.dtype} of shape "
            f"{order.ids.shape}"
        )
    ids = np.ascontiguousarray(order.ids, dtype=np.int64)
    check_ids(ids, dataset)
    if order.weights is not None and order.weights.shape != ids.shape:
        raise DataError(
            f"an order's weights must match its {len(ids):,} ids; got shape {order.weights.shape}"
        )
    return Request(order.round, ids, order.weights, occurrences(ids), views, stage)
