"""The whole data set decoded once, in one tensor on the device."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.engines.protocol import Dataset, check_ids, check_threads, common_shape, thread_count
from pipeline.errors import DataError
from pipeline.transfer import place

_CHUNK = 1 << 26
"""Bytes that are decoded on the host at a time on their way to a device."""
_STRETCH = 64
"""Samples that a thread decodes in one go."""


@dataclass(frozen=True)
class ResidentEngine:
    """Decode everything once into memory (the GPU's, where there is one): fastest for what fits."""

    threads: int = 0
    """Threads that decode when the set is opened; 0 for one a core."""

    def __post_init__(self) -> None:
        check_threads(self.threads)

    def open(self, dataset: Dataset, device: torch.device) -> ResidentReader:
        """Decode the data set; see `EnginePart.open`."""
        return ResidentReader(dataset, device, thread_count(self.threads))


class ResidentReader:
    """A data set held as uint8[n, H, W, 3] on the device."""

    asynchronous = False

    def __init__(self, dataset: Dataset, device: torch.device, threads: int) -> None:
        self.height, self.width = common_shape(dataset)
        self._dataset = dataset
        self._device = device
        shape = (len(dataset), self.height, self.width, 3)
        _check_memory(dataset, int(np.prod(shape, dtype=np.int64)), device)
        self._store = torch.empty(shape, dtype=torch.uint8, device=device)
        with ThreadPoolExecutor(threads, thread_name_prefix="resident") as pool:
            if device.type == "cpu":
                _decode(dataset, 0, self._store.numpy(), pool)
                return
            step = max(1, _CHUNK // (self.height * self.width * 3))
            for start in range(0, len(dataset), step):
                chunk = torch.empty_like(self._store[start : start + step], device="cpu")
                _decode(dataset, start, chunk.numpy(), pool)
                self._store[start : start + step].copy_(chunk)

    def read(self, ids: NDArray[np.int64]) -> Tensor:
        """Gather images on the device; see `Reader.read`."""
        check_ids(ids, self._dataset)
        images = torch.index_select(self._store, 0, place(ids, self._device))
        return images.permute(0, 3, 1, 2)

    def close(self) -> None:
        """Free the memory."""
        self._store = torch.empty((0, self.height, self.width, 3), dtype=torch.uint8)


def _decode(dataset: Dataset, start: int, out: NDArray[np.uint8], pool: ThreadPoolExecutor) -> None:
    """Decode ``len(out)`` samples from ``start`` on."""

    def work(first: int) -> None:
        for index in range(first, min(first + _STRETCH, len(out))):
            out[index] = dataset.image(start + index)

    # Leaving early, by an error or by Ctrl-C, cancels the stretches that haven't begun.
    for _ in pool.map(work, range(0, len(out), _STRETCH)):
        pass


def _check_memory(dataset: Dataset, needed: int, device: torch.device) -> None:
    if device.type == "cuda":
        room = torch.cuda.mem_get_info(device)[0]
    else:
        room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > room:
        raise DataError(
            f"the resident engine must hold all of {dataset.path} decoded, {needed / 2**30:,.1f} GiB, and "
            f"{device} has {room / 2**30:,.1f} GiB: use the ffcv engine, or convert to smaller images"
        )
