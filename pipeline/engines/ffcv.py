"""Images read from the mapped file batch by batch, JPEGs by the C decoder that FFCV is built on.

FFCV's own ``imdecode`` wraps libjpeg-turbo's ``tjDecompress2`` with the fast, rough cosine transform.
It differs from Pillow by up to 12 grey levels, and saves 2 to 4% of the time. Here the same function of the
same library is called without it: then every pixel equals Pillow's, so all engines give the same run.
"""

from __future__ import annotations

import ctypes
import importlib
import weakref
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from queue import SimpleQueue

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.engines.protocol import Dataset, check_ids, check_threads, common_shape, thread_count
from pipeline.errors import CorruptSampleError, MissingExtraError
from pipeline.kernels.decode import READ, make_reader

_RAW_STRETCH = 1 << 19
"""Raw bytes a thread at least: less is copied sooner than another thread wakes up."""


@dataclass(frozen=True)
class FfcvEngine:
    """Decode batch by batch ahead of the training, for sets larger than memory (extra: ffcv).

    Drives FFCV's C library from a loop of our own; FFCV's Loader takes no part.
    """

    threads: int = 0
    """Threads that decode; 0 for one a core."""

    def __post_init__(self) -> None:
        check_threads(self.threads)

    def open(self, dataset: Dataset, device: torch.device) -> FfcvReader:
        """Map the data set; see `EnginePart.open`."""
        return FfcvReader(dataset, device, thread_count(self.threads))


class FfcvReader:
    """A mapped data set and the threads that decode from it.

    Each batch is read into memory of its own, so it stays as it is for as long as somebody holds it. A sample
    is compared with its checksum when it is read for the first time.
    """

    asynchronous = True

    def __init__(self, dataset: Dataset, device: torch.device, threads: int) -> None:
        self.height, self.width = common_shape(dataset)
        self._dataset = dataset
        self._pinned = device.type == "cuda"
        self._library = _library()
        # The base class: numba doesn't know memory maps.
        self._data = np.asarray(dataset.data)
        self._unchecked = np.full(len(dataset), dataset.checksums is not None)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="ffcv")
        handles = [self._library.start() for _ in range(threads)]
        self._free = weakref.finalize(self, _end_all, self._library, handles)
        self._decoders: SimpleQueue[int] = SimpleQueue()
        for handle in handles:
            self._decoders.put(handle)

    def read(self, ids: NDArray[np.int64]) -> Tensor:
        """Decode images; see `Reader.read`."""
        check_ids(ids, self._dataset)
        shape = (len(ids), self.height, self.width, 3)
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=self._pinned)
        out, status = batch.numpy(), np.full(len(ids), READ, dtype=np.uint8)

        def work(part: slice) -> None:
            dataset = self._dataset
            self._check(ids[part])
            decoder = self._decoders.get()
            try:
                self._library.read(
                    self._data,
                    dataset.offsets,
                    dataset.sizes,
                    dataset.compressed,
                    ids[part],
                    decoder,
                    out[part],
                    status[part],
                )
            finally:
                self._decoders.put(decoder)

        jpeg = bool(self._dataset.compressed[ids].any())
        stretches = self._threads if jpeg else min(self._threads, out.nbytes // _RAW_STRETCH)
        if stretches < 2:
            work(slice(None))
        else:
            bounds = np.linspace(0, len(ids), stretches + 1).astype(int)
            parts = [slice(low, high) for low, high in pairwise(bounds)]
            list(self._pool.map(work, parts))
        for place in np.flatnonzero(status != READ):
            out[place] = self._second_opinion(int(ids[place]))
        return batch.permute(0, 3, 1, 2)

    def close(self) -> None:
        """End the threads and free their decoders."""
        self._pool.shutdown()
        self._free()

    def _check(self, ids: NDArray[np.int64]) -> None:
        """Compare samples that weren't read before with their checksums."""
        dataset = self._dataset
        if dataset.checksums is None:
            return
        for index in ids[self._unchecked[ids]]:
            start = dataset.offsets[index]
            if zlib.crc32(self._data[start : start + dataset.sizes[index]].data) != dataset.checksums[index]:
                dataset.image(index)
            self._unchecked[index] = False

    def _second_opinion(self, index: int) -> NDArray[np.uint8]:
        """Decode what the C decoder wouldn't, or say why it can't be.

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


@dataclass(frozen=True, slots=True)
class _Library:
    """What is used of FFCV's C library: the reading loop around it, and decoders' beginning and end."""

    read: Callable[..., None]
    start: Callable[[], int]
    end: Callable[[int], int]


@cache
def _library() -> _Library:
    """Load FFCV's C library and compile the reading loop.

    Raises
    ------
    MissingExtraError
        When FFCV isn't installed.
    """
    # Importing FFCV sets numba's and PyTorch's number of threads to 1.
    numba_threads, torch_threads = numba.get_num_threads(), torch.get_num_threads()
    try:
        module = importlib.import_module("ffcv.libffcv")
    except ImportError as error:
        raise MissingExtraError(
            f"the ffcv engine needs FFCV, which can't be imported ({error}): "
            "apt-get install pkg-config libturbojpeg0-dev libopencv-dev, then pip install 'budgetrain[ffcv]'"
            "; or use the resident engine"
        ) from None
    finally:
        numba.set_num_threads(numba_threads)
        torch.set_num_threads(torch_threads)
    # A handle of its own, so that the types declared here stay here. Looking a name up in a library also
    # finds it in those that it is linked with, here libturbojpeg.
    library = ctypes.CDLL(module.lib._name)
    start, end, decompress = library.tjInitDecompress, library.tjDestroy, library.tjDecompress2
    start.restype, start.argtypes = ctypes.c_void_p, []
    end.argtypes = [ctypes.c_void_p]
    decompress.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_ulong,
        ctypes.c_void_p,
        *[ctypes.c_int] * 5,
    ]
    return _Library(make_reader(decompress, module.ctypes_memcopy), start, end)


def _end_all(library: _Library, handles: list[int]) -> None:
    for handle in handles:
        library.end(handle)
