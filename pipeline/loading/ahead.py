"""Batches made in a thread, of requests that it is given one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

import torch

from pipeline.batch import Batch
from pipeline.loading.prefetch import Prefetch
from pipeline.loading.request import Request


@dataclass(frozen=True, slots=True)
class Made:
    """A batch, and on CUDA the events around its copies."""

    batch: Batch
    copied: tuple[torch.cuda.Event, torch.cuda.Event] | None = None


class Ahead:
    """The thread that makes batches of the requests put to it; None is the last request.

    Parameters
    ----------
    make
        Makes a request's batches from a number on.
    start
        Number of the first request's first batch to make.
    depth
        Batches that may wait to be taken.

    Attributes
    ----------
    requests
        Where requests are put.
    made
        Where batches are taken.
    """

    def __init__(self, make: Callable[[Request, int], Iterator[Made]], start: int, depth: int) -> None:
        self.requests: SimpleQueue[Request | None] = SimpleQueue()
        requests = self.requests

        def work() -> Iterator[Made]:
            first = start
            while (request := requests.get()) is not None:
                yield from make(request, first)
                first = 0

        # The interpreter's exit ends the thread without `close`, and must not wait for a request either.
        self.made = Prefetch(work(), depth, "loader", wake=partial(requests.put, None))

    def close(self) -> None:
        """End the thread, also where it waits for a request; a second call does nothing."""
        self.made.close()
