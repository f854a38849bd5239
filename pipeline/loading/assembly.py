"""The batches of an order, one after the other: samples read, parameters drawn, all of it on the device."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment import HostDraws
from pipeline.batch import Cursor, RawBatch, RawView
from pipeline.clock import CLOCK, Spans
from pipeline.crop import Crop
from pipeline.device import side_stream, timer
from pipeline.engines import Dataset
from pipeline.errors import DataError
from pipeline.loading.levels import BatchSpec
from pipeline.loading.prefetch import Prefetch
from pipeline.multiplied import Multiplied
from pipeline.ops.memory import place, place_all
from pipeline.randomness import Keys

End = Callable[[Callable[[], object]], RawBatch]
_Events = tuple[torch.cuda.Event, torch.cuda.Event]


@dataclass(frozen=True, slots=True)
class Request:
    """A round's order, checked, with what its batches need to know of one another.

    Attributes
    ----------
    occurrences
        int64[n], how often each id stands earlier in the order.
    spec
        How its batches are made.
    """

    round: int
    ids: NDArray[np.int64]
    weights: NDArray[np.float32] | None
    occurrences: NDArray[np.int64]
    spec: BatchSpec


@dataclass(frozen=True, slots=True)
class _Made:
    """A batch, and on CUDA the events around its copies."""

    batch: RawBatch
    copied: _Events | None = None


@dataclass(slots=True)
class LoaderTimes:
    """Seconds that a loader has cost so far.

    Attributes
    ----------
    wait
        In which the consumer waited for a batch to be read and drawn. The loader's stall.
    copy
        Of copies from the host to a CUDA device, by the device's clock: beside the training, unless the next
        step waits for them. 0 on the CPU. May lag behind by the batches still under way.
    """

    wait: float = 0.0
    copy: float = 0.0


class Assembly:
    """Makes the batches of one data set, for this rank; see `Loader` for its parameters.

    Batches are begun by one thread at a time: the consumer's, or one that reads ahead of it.

    Attributes
    ----------
    spans
        Receiver of what is done when; None while nothing is recorded.
    """

    def __init__(
        self,
        dataset: Dataset,
        times: LoaderTimes,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int,
        world_size: int,
        prefetch: int,
    ) -> None:
        self.spans: Spans | None = None
        self._multiplied = dataset if isinstance(dataset, Multiplied) else None
        self._targets = dataset.targets
        self._times = times
        self._batch_size = batch_size
        self._seed = seed
        self._device = device
        self._times_copies = device.type == "cuda"
        self._rank = rank
        self._world_size = world_size
        self._prefetch = prefetch
        self._stream: torch.cuda.Stream | None = None
        self._copies: deque[_Events] = deque()
        self._running: weakref.WeakSet[Prefetch[_Made]] = weakref.WeakSet()
        self._closed = False

    def batches(self, request: Request, start: int) -> Iterator[RawBatch]:
        """Iterate over a request's batches from number ``start`` on, as they are asked for."""
        if not request.spec.reader.asynchronous:
            yield from self._consume(self._make(request, start, None))
            return
        ahead = Prefetch(self._make(request, start, self.stream), self._prefetch, "loader")
        self._running.add(ahead)
        try:
            yield from self._consume(ahead)
        finally:
            ahead.close()

    @property
    def stream(self) -> torch.cuda.Stream | None:
        """The one stream that this loader's batches are copied on; None if the device isn't CUDA.

        PyTorch's allocator reuses memory only on the stream that it was allocated on, and its streams are
        handed out in turn: a stream per order would leave the batches of 32 orders reserved.
        """
        if self._stream is None:
            self._stream = side_stream(self._device)
        return self._stream

    def reread(self, raw: RawBatch, indices: NDArray[np.int64], spec: BatchSpec) -> RawBatch:
        """Make a batch of some samples of another one, with the same random numbers, by another spec."""
        begin = CLOCK.now()
        cursor = Cursor(raw.cursor.round, raw.cursor.step, raw.cursor.occurrences[indices])
        reread = self._begin(raw.ids[indices], cursor, None, spec)(lambda: None)
        if raw.weights is not None:
            reread = replace(reread, weights=raw.weights.index_select(0, place(indices, self._device)))
        self._times.wait += CLOCK.now() - begin
        return reread

    def close(self) -> None:
        """End all threads."""
        self._closed = True
        for running in list(self._running):
            running.close()

    def _consume(self, source: Iterator[_Made]) -> Iterator[RawBatch]:
        """Take batches as they are asked for, on the consumer's thread and its current stream."""
        while True:
            begin = CLOCK.now()
            made = next(source, None)
            end = CLOCK.now()
            self._times.wait += end - begin
            if made is None:
                return
            if self.spans is not None:
                self.spans.add("consumer", "wait", begin, end, made.batch.cursor.step)
            if made.copied is not None:
                self._receive(made.batch, made.copied)
            batch = made.batch
            del made
            yield batch

    def _receive(self, batch: RawBatch, copied: _Events) -> None:
        """Let the current stream wait for the copies, and keep their memory until it is done with it."""
        current = torch.cuda.current_stream(self._device)
        current.wait_event(copied[1])
        # Of tensors that came in one copy one is enough: their memory is one block.
        for tensor in {one.untyped_storage().data_ptr(): one for one in batch.tensors()}.values():
            # Allocated on the side stream: without this its memory could be given to the next copy while
            # kernels of this step still read it.
            tensor.record_stream(current)
        self._copies.append(copied)
        while self._copies and self._copies[0][1].query():  # type: ignore[no-untyped-call]
            begin, end = self._copies.popleft()
            self._times.copy += begin.elapsed_time(end) / 1e3

    def _make(self, request: Request, start: int, stream: torch.cuda.Stream | None) -> Iterator[_Made]:
        """Read, draw and copy one batch after the other; in the prefetching thread where there is one.

        There, a batch is begun before the one ahead of it is waited for.
        """
        begun: End | None = None
        for step in range(start, -(-len(request.ids) // self._batch_size)):
            if self._closed:
                raise DataError("a loader must stay open while its batches are used; it was closed")
            ahead = self._begin_step(request, step)
            if begun is not None:
                yield self._end(begun, stream)
            begun = ahead
            if not request.spec.reader.asynchronous:
                yield self._end(begun, stream)
                begun = None
        if begun is not None:
            yield self._end(begun, stream)

    def _begin_step(self, request: Request, step: int) -> End:
        """Begin this rank's part of the round's global batch ``step``."""
        part = self._part(step, len(request.ids))
        weights = None if request.weights is None else request.weights[part].astype(np.float32)
        cursor = Cursor(request.round, step, request.occurrences[part])
        return self._begin(request.ids[part].copy(), cursor, weights, request.spec)

    def _part(self, step: int, count: int) -> slice:
        """This rank's part of a global batch, of ``count`` samples in all batches."""
        first = step * self._batch_size
        size = min(self._batch_size, count - first)
        low, high = (first + size * rank // self._world_size for rank in (self._rank, self._rank + 1))
        return slice(low, high)

    def _begin(
        self, ids: NDArray[np.int64], cursor: Cursor, weights: NDArray[np.float32] | None, spec: BatchSpec
    ) -> End:
        """Begin a batch; gives what ends it.

        Engines that can decode in the background begin here. The returned function calls its argument once
        the images are read, before the copy to the device.
        """
        began = CLOCK.now()
        stored = ids if self._multiplied is None else self._multiplied.stored[ids]
        copies = None if self._multiplied is None else self._multiplied.copies[ids]
        crops: list[Crop] = []
        drawn: list[HostDraws] = []
        for number, view in enumerate(spec.views):
            keys = Keys(
                self._seed,
                cursor.round,
                cursor.step,
                ids,
                cursor.occurrences,
                view=number,
                copies=copies,
                magnitude=view.magnitude,
                resolution=view.resolution,
            )
            if view.cropping is not None:
                windows = view.cropping.windows(keys, spec.heights[stored], spec.widths[stored])
                crops.append(Crop(windows, *view.shape))
            drawn.append(view.augmentation.draw(keys, *view.shape, cropped=view.cropping is not None))
        read = _begin_reading(spec, stored, crops)
        self._note("draw", began, cursor)

        def end(placing: Callable[[], object]) -> RawBatch:
            began = CLOCK.now()
            images = read()
            began = self._note("read", began, cursor)
            placing()
            device = self._device
            images = tuple(view.to(device, non_blocking=True) for view in images)
            # All that is small goes in one copy.
            small = [array for of_view in drawn for array in of_view.arrays(device)]
            small += [values[ids] for values in self._targets.values()]
            small += [] if weights is None else [weights]
            placed = iter(place_all(small, device))
            views, mixture = [], None
            for number, (view, of_view) in enumerate(zip(spec.views, drawn, strict=True)):
                draws, mixture = of_view.of(placed, device)
                shown = images[number if spec.by_engine else 0]
                views.append(RawView(shown, draws, view.size, cropped=spec.by_engine))
            made = RawBatch(
                ids=ids,
                views=tuple(views) or (RawView(images[0]),),
                augmentation=spec.augmentation,
                targets={name: next(placed) for name in self._targets},
                mixture=mixture,
                weights=None if weights is None else next(placed),
                cursor=cursor,
            )
            self._note("place", began, cursor)
            return made

        return end

    def _note(self, name: str, began: float, cursor: Cursor) -> float:
        """Record what was done since ``began``, if anything is recorded; return the time."""
        now = CLOCK.now()
        if self.spans is not None:
            self.spans.add("loader", name, began, now, cursor.step)
        return now

    def _end(self, begun: End, stream: torch.cuda.Stream | None) -> _Made:
        if not self._times_copies:
            return _Made(begun(lambda: None))
        # The thread's current device and stream are its own; without a side stream, the consumer's.
        with torch.cuda.device(self._device), torch.cuda.stream(stream):
            begin, end = timer(), timer()
            # Between the two lies what is placed, and not the reading and decoding before it.
            batch = begun(begin.record)
            end.record()
        return _Made(batch, (begin, end))


def _begin_reading(
    spec: BatchSpec, ids: NDArray[np.int64], crops: list[Crop]
) -> Callable[[], tuple[Tensor, ...]]:
    """Begin to read images, in the background where the reader can, else when they are waited for."""
    reader, pipelined = spec.reader, spec.pipelined
    if len(crops) > 1:
        if pipelined is not None:
            return pipelined.begin_views(ids, crops)
        return partial(reader.read_views, ids, crops)
    crop = crops[0] if crops else None
    read = partial(reader.read, ids, crop) if pipelined is None else pipelined.begin(ids, crop)
    return lambda: (read(),)
