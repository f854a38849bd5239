"""Images read from the mapped files batch by batch, JPEGs by the C decoder that FFCV is built on.

FFCV's own ``imdecode`` wraps libjpeg-turbo's ``tjDecompress2`` with the fast, rough cosine transform.
It differs from Pillow by up to 12 gray levels, and saves 2 to 4% of the time. Here the same function of the
same library is called without it: then every pixel that is decoded in full equals Pillow's. Colors are
smoothed as Pillow does, too: leaving that out would save 5%, of images at full scale only.

Windows that are to be made half as large, or smaller, are decoded at 1/2, 1/4 or 1/8, as Pillow's ``draft``
does, which is several times faster than decoding them in full and resizing. Their pixels are those
of another filter (the mean of 2x2 pixels where the triangle weighs 4x4) and differ from the resident engine's
by up to some ten gray levels, so such a run ends with other weights. `FfcvEngine.exact` decodes all in full.
"""

from __future__ import annotations

import ctypes
import importlib.util
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.crop import Crop
from pipeline.engines.crew import Crew
from pipeline.engines.protocol import Dataset, check_ids, check_threads, thread_count
from pipeline.engines.stored import StoredSamples, check_crop, check_whole, crop_image, shared_shape, sides
from pipeline.errors import CorruptSampleError, MissingExtraError
from pipeline.kernels.decode import READ, Decoder, make_kernels
from pipeline.machine import memory
from pipeline.modes import PIXELS
from pipeline.ops.memory import Blocks, as_levels

_RAW_STRETCH = 1 << 22
"""Minimum raw bytes per thread: less is copied sooner than another thread wakes up."""
_STRETCH = 1 << 15
"""Minimum bytes per thread if they are decoded or resized."""
_SMALL = 64 * 64
"""Maximum pixels of an image that is copied too fast for another thread to pay."""
_SHARES = 8
"""Maximum number of chunks of a batch per thread: small chunks, so that no thread waits long for another."""


@dataclass(frozen=True)
class FfcvEngine:
    """Decode batch by batch ahead of the training, for sets larger than memory (extra: ffcv).

    Drives FFCV's C library from a loop of our own; FFCV's Loader takes no part.
    """

    threads: int = 0
    """Number of decoding threads; 0 for one per core."""
    exact: bool = False
    """Decode every JPEG in full, so that pixels equal the resident engine's bit for bit. Without it, windows
    that are made half as large or smaller are decoded at a reduced scale: faster the larger the images are by
    the crops, and up to some ten gray levels off."""

    def __post_init__(self) -> None:
        check_threads(self.threads)

    def open(self, dataset: Dataset, device: torch.device) -> FfcvReader:
        """Map the data set; see `EngineConfig.open`."""
        return FfcvReader(dataset, device, thread_count(self.threads), exact=self.exact)


class FfcvReader:
    """A mapped data set and the threads that decode from it.

    Each batch is read into memory of its own, so it stays valid for as long as it is referenced. A sample
    is compared with its checksum when it is read for the first time.
    """

    def __init__(self, dataset: Dataset, device: torch.device, threads: int, *, exact: bool = False) -> None:
        self.height: int | None
        self.width: int | None
        self.height, self.width = shared_shape(dataset)
        # On the CPU these kernels are faster than the operations that crop on a device.
        self.crops = self.height is None or device.type == "cpu" or bool(dataset.compressed.any())
        self._dataset = dataset
        self._exact = exact
        self._blocks = Blocks(pinned=device.type == "cuda")
        self._library = _library()
        self._pixels = PIXELS[dataset.mode]
        self._kernels = make_kernels(self._pixels.channels, self._pixels.dtype.itemsize)
        self._stored = StoredSamples(dataset)
        self._raw = not dataset.compressed.any()
        # Raw images that are small, in files that the system keeps in memory, are copied sooner than a thread
        # hands them over.
        cached = self._raw and sum(shard.size for shard in dataset.shards) < memory() // 2
        small = int((dataset.heights * dataset.widths).max()) <= _SMALL
        self.asynchronous = not (cached and small and device.type == "cpu")
        self._crew = Crew(threads, "ffcv")
        desks = self._all_desks = [_Desk(self._library.decoder()) for _ in range(threads)]
        self._free = weakref.finalize(self, _end_all, self._library, [desk.decoder[2] for desk in desks])
        self._desks: SimpleQueue[_Desk] = SimpleQueue()
        for desk in desks:
            self._desks.put(desk)

    @property
    def decoded(self) -> int:
        """Number of JPEGs decoded so far."""
        return sum(desk.decoded for desk in self._all_desks)

    def read(self, ids: NDArray[np.int64], crop: Crop | None = None) -> Tensor:
        """Decode images; see `Reader.read`."""
        return self._images(ids, () if crop is None else (crop,))[0]

    def read_views(self, ids: NDArray[np.int64], crops: Sequence[Crop]) -> tuple[Tensor, ...]:
        """Decode images and cut several windows out of each; see `Reader.read_views`."""
        return self._images(ids, tuple(crops))

    def _images(self, ids: NDArray[np.int64], crops: tuple[Crop, ...]) -> tuple[Tensor, ...]:
        """Return one batch of images per crop; without any, one of whole images."""
        check_ids(ids, self._dataset)
        self._dataset.check_unchanged()
        for crop in crops:
            check_crop(ids, crop, self._dataset)
        shapes = [(crop.height, crop.width) for crop in crops]
        if not crops:
            shapes = [check_whole(self._dataset, (self.height, self.width))]
        size, dtype = self._pixels.stride, self._pixels.dtype
        batches = [as_levels(self._blocks.empty(len(ids), *shape, size), dtype) for shape in shapes]
        outs, status = tuple(batch.numpy() for batch in batches), np.full(len(ids), READ, dtype=np.uint8)

        def work(part: slice) -> None:
            self._stored.check(ids[part])
            desk = self._desks.get()
            try:
                if crops:
                    parts = tuple(out[part] for out in outs)
                    desk.decoded += self._crop(ids[part], crops, part, desk, parts, status[part])
                else:
                    desk.decoded += self._read(ids[part], desk, outs[0][part], status[part])
            finally:
                self._desks.put(desk)

        resized = sum(out.nbytes for out in outs) if crops else 0
        self._crew.share_out(len(ids), self._parts(ids, resized), work)
        for place in np.flatnonzero(status != READ):
            image = self._second_opinion(int(ids[place]))
            if not crops:
                outs[0][place] = image
            for out, crop in zip(outs, crops, strict=False):
                out[place] = crop_image(image, crop, int(place))
        # Again: the bytes read meanwhile may be another file's.
        self._dataset.check_unchanged()
        return tuple(batch.permute(0, 3, 1, 2) for batch in batches)

    def close(self) -> None:
        """End the threads and free their decoders."""
        self._crew.close()
        self._free()

    def _parts(self, ids: NDArray[np.int64], resized: int) -> int:
        """Return the number of chunks to split a batch into; ``resized`` are the bytes of its crops."""
        dataset, threads = self._dataset, self._crew.threads
        if self._raw and not resized:
            return min(len(ids) * int(dataset.sizes[0]) // _RAW_STRETCH, threads)
        compressed = int(dataset.sizes[ids[dataset.compressed[ids]]].sum())
        return min((compressed + resized) // _STRETCH, _SHARES * threads)

    def _read(
        self, ids: NDArray[np.int64], desk: _Desk, out: NDArray[np.uint8], status: NDArray[np.uint8]
    ) -> int:
        return self._kernels.read(self._stored.table, ids, desk.decoder, out.view(np.uint8), status)

    def _crop(
        self,
        ids: NDArray[np.int64],
        crops: tuple[Crop, ...],
        part: slice,
        desk: _Desk,
        outs: tuple[NDArray[np.uint8], ...],
        status: NDArray[np.uint8],
    ) -> int:
        dataset, windows = self._dataset, [crop.windows[part] for crop in crops]
        jpegs = ids[dataset.compressed[ids]]
        if self._pixels.dtype == np.uint16:
            desk.make_room(2 * int((dataset.heights[ids] * dataset.widths[ids]).max(initial=0)), 0)
        if len(jpegs):
            pixels = self._pixels.channels * (dataset.heights[jpegs] * dataset.widths[jpegs]).max()
            desk.make_room(int(pixels), int(dataset.sizes[jpegs].max()))
        return self._kernels.crop(
            self._stored.table,
            dataset.checksums is not None,
            self._exact,
            ids,
            np.stack([sides(window) for window in windows]),
            np.stack([window.flip for window in windows]),
            desk.decoder,
            desk.pixels,
            desk.copy,
            outs,
            status,
        )

    def _second_opinion(self, index: int) -> NDArray[Any]:
        """Decode a sample that the C decoder refused, or raise an error that says why it is damaged.

        The decoder also refuses JPEGs that are merely odd, such as bytes left over between markers. Where
        the checksum vouches for the bytes, what Pillow makes of them holds, as in the resident engine.
        """
        image = self._dataset.image(index)
        if self._dataset.checksums is None:
            raise CorruptSampleError(
                f"{self._dataset.path}: sample {index} ({self._dataset.name(index)}) is damaged "
                "or ends early: convert its source again"
            )
        return image


class _Desk:
    """A decoder and its output memory, used by one thread at a time."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.pixels = np.empty(0, np.uint8)
        self.copy = np.empty(0, np.uint8)
        self.decoded = 0

    def make_room(self, pixels: int, copy: int) -> None:
        """Ensure room for an image of these many bytes, decoded and encoded."""
        if self.pixels.size < pixels:
            self.pixels = np.empty(pixels, np.uint8)
        if self.copy.size < copy:
            self.copy = np.empty(copy, np.uint8)


@dataclass(frozen=True, slots=True)
class _Library:
    """Bindings of FFCV's C library: the addresses of its functions for kernels, and those for decoders."""

    decompress: int
    message: int
    start: Callable[[], int]
    end: Callable[[int], int]

    def decoder(self) -> Decoder:
        """Return a new decoder, to be ended by the caller."""
        return self.decompress, self.message, self.start()


@cache
def _library() -> _Library:
    """Load FFCV's C library.

    Raises
    ------
    MissingExtraError
        When FFCV isn't installed, or a library that it is linked with.
    """
    # Importing FFCV would compile for seconds, and set numba's and PyTorch's number of threads to 1. Looking
    # a name up in a library also finds it in those that it is linked with, here libturbojpeg.
    try:
        library = ctypes.CDLL(_library_path())
    except (ImportError, OSError) as error:
        raise MissingExtraError(
            f"the ffcv engine needs FFCV, which can't be loaded ({error}): "
            "apt-get install pkg-config libturbojpeg0-dev libopencv-dev, then pip install 'budgetrain[ffcv]'"
            "; or use the resident engine"
        ) from None
    start, end = library.tjInitDecompress, library.tjDestroy
    start.restype, start.argtypes = ctypes.c_void_p, []
    end.argtypes = [ctypes.c_void_p]
    decompress, message = (
        ctypes.cast(function, ctypes.c_void_p).value or 0
        for function in (library.tjDecompress2, library.tjGetErrorStr2)
    )
    return _Library(decompress, message, start, end)


def _library_path() -> str:
    package = importlib.util.find_spec("ffcv")
    found = package and PathFinder.find_spec("ffcv._libffcv", package.submodule_search_locations)
    if found is None or found.origin is None:
        raise ImportError("No module named 'ffcv._libffcv'")
    return found.origin


def _end_all(library: _Library, handles: list[int]) -> None:
    for handle in handles:
        library.end(handle)
