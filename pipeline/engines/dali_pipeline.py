"""A DALI pipeline that takes JPEG bytes and windows, and decodes several batches ahead."""

from __future__ import annotations

import importlib
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from pipeline.device import side_stream
from pipeline.errors import MissingExtraError

_AHEAD = 3
"""Maximum number of batches in progress: one being decoded, one queued, one done and not taken yet."""


@dataclass(frozen=True, slots=True)
class Rectangles:
    """One rectangle per image: int32[n, 2] each, its top and left, and its height and width."""

    starts: NDArray[np.int32]
    shapes: NDArray[np.int32]

    def part(self, rows: slice) -> Rectangles:
        """Return the rectangles of the given images."""
        return Rectangles(self.starts[rows], self.shapes[rows])


@dataclass(frozen=True, slots=True)
class Work:
    """A batch to decode.

    Attributes
    ----------
    contents
        n JPEG files, uint8 each; they stay as they are until the batch is done.
    region
        The rectangle to decode of each image.
    cuts
        The rectangle to cut out of the decoded one, per view; all of it if there is one view.
    sizes
        float32[n, 2] per view, height and width to resize to, negative for mirrored ones; empty leaves
        decoded images as they are.
    """

    contents: Sequence[NDArray[np.uint8]]
    region: Rectangles
    cuts: tuple[Rectangles, ...] = ()
    sizes: tuple[NDArray[np.float32], ...] = ()

    def part(self, place: int) -> Work:
        """Return the work restricted to one image."""
        one = slice(place, place + 1)
        cuts, sizes = tuple(cut.part(one) for cut in self.cuts), tuple(size[one] for size in self.sizes)
        return Work(self.contents[one], self.region.part(one), cuts, sizes)


@dataclass(slots=True)
class Ticket:
    """A batch in progress.

    Attributes
    ----------
    work
        None once it is done.
    images
        uint8[n, H, W, 3] per view on the device, once done; None where DALI refused one of the files.
    refusal
        DALI's message in that case.
    """

    work: Work | None
    images: tuple[Tensor, ...] | None = None
    refusal: str = ""


@dataclass(slots=True)
class _State:
    """A DALI pipeline, None before it is built, and its pending batches, oldest first."""

    pipeline: Any
    under_way: deque[Ticket]

    def end(self) -> None:
        # The pipeline is deleted first: until then its threads read the tickets' memory.
        self.pipeline = None
        self.under_way.clear()


class JpegPipeline:
    """Decodes windows of JPEGs, on the CPU or on a CUDA device, and resizes as many of each as it has views.

    Without views, decoded images stay as they are.

    DALI has no reader that reads given ids, so the files' bytes are handed over, by reference. An
    error in one batch is the end of a DALI pipeline: the batches behind it are then handed to a new one. Used
    by any number of threads.
    """

    def __init__(self, threads: int, device: torch.device, views: int, *, gray: bool = False) -> None:
        self._dali = library()
        self._threads = threads
        self._device = device
        self._views = views
        self._gray = gray
        self._lock = threading.RLock()
        self._stream: torch.cuda.Stream | None = None
        self._most = 0
        self._state = _State(None, deque())
        self._end = weakref.finalize(self, self._state.end)

    def submit(self, work: Work) -> Ticket:
        """Begin to decode a batch; waits for the oldest one in progress if there are three."""
        ticket = Ticket(work)
        state = self._state
        with self._lock:
            while len(state.under_way) >= _AHEAD:
                self._finish_oldest()
            if len(work.contents) > self._most:
                while state.under_way:
                    self._finish_oldest()
                self._most = 1 << (len(work.contents) - 1).bit_length()
                state.pipeline = None
            try:
                self._feed(work)
            except BaseException:
                self._start_over()
                raise
            state.under_way.append(ticket)
        return ticket

    def finish(self, ticket: Ticket) -> tuple[Tensor, ...] | None:
        """Wait until a batch, and with it those submitted before it, are done, and return its images."""
        with self._lock:
            while ticket.work is not None and self._state.under_way:
                self._finish_oldest()
        return ticket.images

    def close(self) -> None:
        """End DALI's threads and free its memory; batches in progress are dropped."""
        with self._lock:
            self._end()

    def _finish_oldest(self) -> None:
        state = self._state
        ticket = state.under_way[0]
        try:
            outputs = state.pipeline.outputs()
            ticket.images = tuple(self._taken(from_dlpack(images.as_tensor())) for images in outputs)
        except Exception as error:  # DALI raises different Python types for its errors.
            ticket.refusal = str(error)
        except BaseException:
            # Ctrl-C: it is unknown whether DALI has returned this batch or will return it next.
            self._start_over()
            raise
        state.under_way.popleft()
        ticket.work = None
        if ticket.images is None:
            self._start_over()

    def _start_over(self) -> None:
        """Submit the pending batches to a new pipeline."""
        self._state.pipeline = None
        for ticket in self._state.under_way:
            assert ticket.work is not None
            self._feed(ticket.work)

    def _taken(self, images: Tensor) -> Tensor:
        """Take over a batch's memory from DALI.

        On the CPU the memory is ours from here on. On a GPU DALI reuses it in the order of its own stream,
        independent of PyTorch's pending kernels: hence the copy, and the wait for it.
        """
        if self._device.type != "cuda":
            return images
        # On a stream of its own, whichever thread this is: the wait must not be for pending steps.
        if self._stream is None:
            self._stream = side_stream(self._device)
        assert self._stream is not None
        with torch.cuda.stream(self._stream):
            copy = images.clone()
        self._stream.synchronize()
        return copy

    def _feed(self, work: Work) -> None:
        if self._state.pipeline is None:
            self._state.pipeline = self._built()
        pipeline = self._state.pipeline
        pipeline.feed_input("jpeg", list(work.contents))
        pipeline.feed_input("start", work.region.starts)
        pipeline.feed_input("shape", work.region.shapes)
        for view, cut in enumerate(work.cuts):
            pipeline.feed_input(f"start {view}", cut.starts)
            pipeline.feed_input(f"shape {view}", cut.shapes)
        for view, size in enumerate(work.sizes):
            pipeline.feed_input(f"size {view}", size)
        pipeline.schedule_run()

    def _built(self) -> Any:
        fn, types = self._dali.fn, self._dali.types
        on_gpu = self._device.type == "cuda"
        pipeline = self._dali.Pipeline(
            self._most,
            self._threads,
            self._device.index if on_gpu else None,
            # A deeper queue would need as many batches before it returns the first; runs can be scheduled
            # ahead anyway.
            prefetch_queue_depth=1,
        )
        with pipeline:
            jpeg = fn.external_source(name="jpeg", dtype=types.UINT8, ndim=1, no_copy=True)
            start = fn.external_source(name="start", dtype=types.INT32, ndim=1)
            shape = fn.external_source(name="shape", dtype=types.INT32, ndim=1)
            images = fn.decoders.image_slice(
                jpeg,
                start,
                shape,
                device="mixed" if on_gpu else "cpu",
                axis_names="HW",
                output_type=types.GRAY if self._gray else types.RGB,
                # Windows are of the image as it is stored, whatever its EXIF entries say.
                adjust_orientation=False,
                jpeg_fancy_upsampling=True,
            )
            outputs = []
            for view in range(self._views):
                part = images
                if self._views > 1:
                    start = fn.external_source(name=f"start {view}", dtype=types.INT32, ndim=1)
                    shape = fn.external_source(name=f"shape {view}", dtype=types.INT32, ndim=1)
                    part = fn.slice(images, start, shape, axis_names="HW")
                size = fn.external_source(name=f"size {view}", dtype=types.FLOAT, ndim=1)
                resized = fn.resize(part, size=size, antialias=True, interp_type=types.INTERP_LINEAR)
                outputs.append(resized)
            pipeline.set_outputs(*(outputs or [images]))
        pipeline.build()
        return pipeline


@cache
def library() -> Any:
    """Import DALI.

    Raises
    ------
    MissingExtraError
        When DALI isn't installed.
    """
    try:
        dali = importlib.import_module("nvidia.dali")
        for part in ("fn", "types"):
            importlib.import_module(f"nvidia.dali.{part}")
    except ImportError as error:
        raise MissingExtraError(
            f"the dali engine needs NVIDIA DALI, which can't be imported ({error}): "
            "pip install 'budgetrain[dali]'; or use the resident engine"
        ) from None
    return dali
