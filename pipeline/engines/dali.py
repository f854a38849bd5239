"""JPEGs decoded by NVIDIA DALI, on a CUDA device where there is one, batch by batch ahead of the training.

DALI's own readers can't read samples by index, so they aren't used: our code locates the bytes and passes
them to a pipeline that decodes windows. On the CPU DALI decodes with libjpeg-turbo, as Pillow does, and
gives the same pixels bit for bit. On a GPU nvJPEG decodes, whose pixels may differ by a gray level or two.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.crop import Crop
from pipeline.engines.dali_pipeline import JpegPipeline, Rectangles, Work, library
from pipeline.engines.protocol import Dataset, check_ids, check_threads, thread_count
from pipeline.engines.stored import StoredSamples, check_crop, check_whole, shared_shape
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats.jpeg_header import is_plain, read_frame
from pipeline.kernels.gray import resize_gray_window
from pipeline.kernels.resize import resize_window
from pipeline.modes import PIXELS
from pipeline.ops.memory import as_levels


@dataclass(frozen=True)
class DaliEngine:
    """Decode with NVIDIA DALI, on the GPU if there is one, ahead of the training (extra: dali).

    JPEGs are decoded at full scale, and only as far as their windows need. Raw images don't go through DALI.
    """

    threads: int = 0
    """Number of decoding threads; 0 for one per core."""

    def __post_init__(self) -> None:
        check_threads(self.threads)

    def open(self, dataset: Dataset, device: torch.device) -> DaliReader:
        """Map the data set; see `EngineConfig.open`."""
        return DaliReader(dataset, device, thread_count(self.threads))


class DaliReader:
    """A mapped data set, and the DALI pipelines that decode from it.

    `begin` starts to read a batch and returns a function that waits for it: with another batch begun before
    the first is waited for, DALI's threads are never idle. `read` is the two at once.

    A sample is compared with its checksum, and a JPEG with its shape, when it is read for the first time.
    """

    asynchronous = True

    def __init__(self, dataset: Dataset, device: torch.device, threads: int) -> None:
        library()
        shape = shared_shape(dataset)
        self.height: int | None = shape[0]
        self.width: int | None = shape[1]
        self.crops = self.height is None or device.type == "cpu" or bool(dataset.compressed.any())
        self._dataset = dataset
        self._device = device
        self._threads = threads
        self._stored = StoredSamples(dataset)
        self._pixels = PIXELS[dataset.mode]
        self._resize = resize_window if self._pixels.channels == 3 else resize_gray_window
        self._new = dataset.compressed.copy()
        # Samples that Pillow reads and DALI doesn't.
        self._refused = np.zeros(len(dataset), np.bool_)
        self._pipelines: dict[int, JpegPipeline] | None = {}
        self.decoded = 0
        self._lock = threading.Lock()

    def read(self, ids: NDArray[np.int64], crop: Crop | None = None) -> Tensor:
        """Decode images; see `Reader.read`."""
        return self.begin(ids, crop)()

    def read_views(self, ids: NDArray[np.int64], crops: Sequence[Crop]) -> tuple[Tensor, ...]:
        """Decode images and cut several windows out of each; see `Reader.read_views`."""
        return self.begin_views(ids, crops)()

    def begin(self, ids: NDArray[np.int64], crop: Crop | None = None) -> Callable[[], Tensor]:
        """Begin to read as `read` does, and return the function that waits for the images.

        Up to three batches are decoded ahead; beyond that this waits for the oldest. Batches whose function
        is never called are dropped.

        Raises
        ------
        DataError
                As `read` does. A `CorruptSampleError` is raised by the returned function, in the batch's
                turn.
        """
        wait = self.begin_views(ids, () if crop is None else (crop,))
        return lambda: wait()[0]

    def begin_views(self, ids: NDArray[np.int64], crops: Sequence[Crop]) -> Callable[[], tuple[Tensor, ...]]:
        """Begin to read as `read_views` does; without a crop, whole images. Otherwise as `begin`."""
        check_ids(ids, self._dataset)
        self._dataset.check_unchanged()
        for crop in crops:
            check_crop(ids, crop, self._dataset)
        shapes = [(crop.height, crop.width) for crop in crops]
        if not crops:
            shapes = [check_whole(self._dataset, (self.height, self.width))]
        try:
            return self._begin(ids, tuple(crops), shapes)
        except CorruptSampleError as corrupt:
            error = corrupt

        def fail() -> tuple[Tensor, ...]:
            raise error

        return fail

    def _begin(
        self, ids: NDArray[np.int64], crops: tuple[Crop, ...], shapes: Sequence[tuple[int, int]]
    ) -> Callable[[], tuple[Tensor, ...]]:
        self._check(ids)
        decoded = self._dataset.compressed[ids] & ~self._refused[ids]
        indices, rest = np.flatnonzero(decoded), np.flatnonzero(~decoded)
        if not len(indices):
            images = self._host(ids, crops, shapes)
            self._dataset.check_unchanged()
            return lambda: tuple(view.permute(0, 3, 1, 2) for view in images)
        pipeline = self._pipeline(len(crops))
        work = self._work(ids[indices], _part(crops, indices))
        ticket = pipeline.submit(work)
        self.decoded += len(indices)
        others = self._host(ids[rest], _part(crops, rest), shapes)

        def wait() -> tuple[Tensor, ...]:
            images = pipeline.finish(ticket)
            if images is None:
                self._examine(ids[indices], work, pipeline, ticket.refusal)
                return self.begin_views(ids, crops)()
            # Again: the bytes read meanwhile may be another file's.
            self._dataset.check_unchanged()
            if len(rest):
                images = tuple(
                    _joined(len(ids), (indices, pixels), (rest, other))
                    for pixels, other in zip(images, others, strict=True)
                )
            return tuple(view.permute(0, 3, 1, 2) for view in images)

        return wait

    def close(self) -> None:
        """End DALI's threads and free its memory."""
        with self._lock:
            pipelines, self._pipelines = self._pipelines, None
        for pipeline in (pipelines or {}).values():
            pipeline.close()

    def _check(self, ids: NDArray[np.int64]) -> None:
        """Compare samples that weren't read before with their checksums, and JPEGs with their shapes.

        A file that isn't plain or has another shape is read by Pillow, from then on as well. DALI
        would notice some of those by itself, but not where a window stays clear of the damage; and where its
        parser gives up in the middle of a batch, its threads go on with memory that is gone (seen in 2.4).
        """
        self._stored.check(ids)
        for index in ids[self._new[ids]]:
            content = self._stored.bytes(index)
            frame = read_frame(content)
            shape = self._dataset.heights[index], self._dataset.widths[index]
            if frame is None or (frame.height, frame.width) != shape or not is_plain(content):
                self._dataset.image(int(index))
                self._refused[index] = True
            self._new[index] = False

    def _work(self, ids: NDArray[np.int64], crops: tuple[Crop, ...]) -> Work:
        contents = [self._stored.bytes(index) for index in ids]
        if not crops:
            shapes = np.stack((self._dataset.heights[ids], self._dataset.widths[ids]), axis=1)
            return Work(contents, _rectangles(np.zeros_like(shapes), shapes))
        windows = [crop.windows for crop in crops]
        starts = np.stack([np.stack((window.top, window.left), axis=1) for window in windows])
        shapes = np.stack([np.stack((window.height, window.width), axis=1) for window in windows])
        sizes = []
        for crop in crops:
            across = np.where(crop.windows.flip, -crop.width, crop.width)
            sizes.append(np.stack((np.full_like(across, crop.height), across), axis=1).astype(np.float32))
        # The rectangle that holds all windows of an image is decoded once, and the windows are cut from it.
        first = starts.min(axis=0)
        region = _rectangles(first, (starts + shapes).max(axis=0) - first)
        cuts = tuple(map(_rectangles, starts - first, shapes)) if len(crops) > 1 else ()
        return Work(contents, region, cuts, tuple(sizes))

    def _pipeline(self, views: int) -> JpegPipeline:
        with self._lock:
            if self._pipelines is None:
                raise DataError(
                    f"a reader must be open to be read from; that of {self._dataset.path} was closed"
                )
            if views not in self._pipelines:
                gray = self._pixels.channels == 1
                self._pipelines[views] = JpegPipeline(self._threads, self._device, views, gray=gray)
            return self._pipelines[views]

    def _host(
        self, ids: NDArray[np.int64], crops: tuple[Crop, ...], shapes: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, ...]:
        """Read raw images, and those that DALI refuses, [n, H, W, C] per view on the host."""
        pinned = self._device.type == "cuda"
        batches = tuple(
            torch.empty((len(ids), *shape, self._pixels.stride), dtype=torch.uint8, pin_memory=pinned)
            for shape in shapes
        )
        batches = tuple(as_levels(batch, self._pixels.dtype) for batch in batches)
        outs = [batch.numpy() for batch in batches]
        for i, index in enumerate(ids):
            content = self._stored.bytes(index)
            if self._dataset.compressed[index]:
                content = self._dataset.image(int(index)).reshape(-1)
                self.decoded += 1
            height, width = int(self._dataset.heights[index]), int(self._dataset.widths[index])
            if self._pixels.dtype == np.uint16:
                content = content.view(">u2").astype(np.uint16)
            if not crops:
                outs[0][i] = content.reshape(height, width, self._pixels.channels)
            for crop, out in zip(crops, outs, strict=False):
                one = crop.windows
                sides = (one.top, one.left, one.height, one.width)
                top, left, high, wide = (float(side[i]) for side in sides)
                self._resize(content, width, top, left, high, wide, bool(one.flip[i]), out[i])
        return batches

    def _examine(self, ids: NDArray[np.int64], work: Work, pipeline: JpegPipeline, refusal: str) -> None:
        """Determine which samples of a batch DALI refuses, and whether Pillow reads them.

        Raises
        ------
        CorruptSampleError
            If Pillow doesn't read one either.
        DataError
            If DALI refuses none of them alone.
        """
        found = False
        for i, index in enumerate(ids):
            self._dataset.image(int(index))
            if pipeline.finish(pipeline.submit(work.part(i))) is None:
                self._refused[index] = found = True
        if not found:
            raise DataError(
                f"DALI can't decode a batch of {self._dataset.path}, and its samples are sound: {refusal}"
            )


def _part(crops: tuple[Crop, ...], indices: NDArray[np.int64]) -> tuple[Crop, ...]:
    return tuple(Crop(crop.windows[indices], crop.height, crop.width) for crop in crops)


def _rectangles(starts: NDArray[np.int64], shapes: NDArray[np.int64]) -> Rectangles:
    return Rectangles(starts.astype(np.int32), shapes.astype(np.int32))


def _joined(count: int, *parts: tuple[NDArray[np.int64], Tensor]) -> Tensor:
    """Join the images of two parts of a batch by their indices, on the device of the first."""
    pixels = parts[0][1]
    whole = torch.empty((count, *pixels.shape[1:]), dtype=torch.uint8, device=pixels.device)
    for indices, images in parts:
        whole.index_copy_(0, torch.from_numpy(indices).to(whole.device), images.to(whole.device))
    return whole
