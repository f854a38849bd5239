"""What is asked of a loader: an order, checked, whole or in parts as it is decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.augment import Chain
from pipeline.engines import Dataset
from pipeline.engines.protocol import check_ids
from pipeline.errors import DataError
from pipeline.randomness import occurrences
from pipeline.resolution import Stage


class OrderLike(Protocol):
    """What the loader needs of an order: ``samplers.Order``, or anything of this shape."""

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
    """A part of a round's order, checked, with what its batches need to know of one another.

    Attributes
    ----------
    first
        Number of the part's first batch within the round.
    chain
        What is drawn for; None draws nothing.
    """

    round: int
    ids: NDArray[np.int64]
    weights: NDArray[np.float32] | None
    occurrences: NDArray[np.int64]
    first: int
    chain: Chain | None
    stage: Stage

    def steps(self, batch_size: int) -> int:
        """Batches that the request makes; the last one may be short."""
        return -(-len(self.ids) // batch_size)


@dataclass(frozen=True, slots=True)
class Requests:
    """Makes requests of orders that are all for one data set, chain and stage."""

    dataset: Dataset
    chain: Chain | None
    stage: Stage

    def whole(self, order: OrderLike) -> Request:
        """Check a round's order.

        Raises
        ------
        DataError
            On ids outside of the data set, and weights of another length.
        """
        return self._request(order, np.empty(0, np.int64), 0)

    def parts(self, orders: Iterable[OrderLike], batch_size: int) -> Iterator[Request]:
        """Check the parts of a round's order as they come.

        Raises
        ------
        DataError
            As `whole` does, and on a part before the last that doesn't hold whole batches.
        """
        earlier, first = np.empty(0, np.int64), 0
        for order in orders:
            if len(earlier) % batch_size:
                raise DataError(
                    f"every part of an order but the last must hold whole batches of {batch_size:,}; got "
                    f"{len(earlier):,} ids before the last"
                )
            request = self._request(order, earlier, first)
            yield request
            earlier = np.concatenate((earlier, request.ids))
            first += request.steps(batch_size)

    def _request(self, order: OrderLike, earlier: NDArray[np.int64], first: int) -> Request:
        if order.ids.ndim != 1 or order.ids.dtype.kind not in "iu":
            raise DataError(
                f"an order's ids must be whole numbers in one dimension; got {order.ids.dtype} of shape "
                f"{order.ids.shape}"
            )
        ids = np.ascontiguousarray(order.ids, dtype=np.int64)
        check_ids(ids, self.dataset)
        if order.weights is not None and order.weights.shape != ids.shape:
            raise DataError(
                f"an order's weights must match its {len(ids):,} ids; got shape {order.weights.shape}"
            )
        seen = occurrences(np.concatenate((earlier, ids)))[len(earlier) :]
        return Request(order.round, ids, order.weights, seen, first, self.chain, self.stage)
