"""How fast a data set's disk gives samples that no cache holds."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.engines import Dataset

_SAMPLES = 128
_SECONDS = 1.0
_ALIGNED = 4096
"""Bytes that unbuffered reading begins and ends at."""


def cold(dataset: Dataset) -> dict[str, Any] | None:
    """Read some samples past the page cache; None where the file system doesn't offer that.

    Returns
    -------
    Images and bytes per second, one sample after the other as one thread reads them.
    """
    path = Path(dataset.path)
    direct = getattr(os, "O_DIRECT", None)
    if direct is None or not path.is_file():
        return None
    try:
        file = os.open(path, os.O_RDONLY | direct)
    except OSError:
        return None
    try:
        return _read(file, dataset)
    except OSError:
        return None
    finally:
        os.close(file)


def _read(file: int, dataset: Dataset) -> dict[str, Any]:
    chosen = np.random.default_rng(0).permutation(len(dataset))[:_SAMPLES]
    largest = int(dataset.sizes.max()) + 2 * _ALIGNED
    # Anonymous maps are aligned to pages.
    with mmap.mmap(-1, -(-largest // _ALIGNED) * _ALIGNED) as block, memoryview(block) as view:
        images = moved = 0
        before = time.perf_counter()
        for index in chosen:
            begin = int(dataset.offsets[index]) // _ALIGNED * _ALIGNED
            end = -(-int(dataset.offsets[index] + dataset.sizes[index]) // _ALIGNED) * _ALIGNED
            with view[: end - begin] as target:
                os.preadv(file, [target], begin)
            images, moved = images + 1, moved + int(dataset.sizes[index])
            taken = time.perf_counter() - before
            if taken > _SECONDS:
                break
    return {"images_per_second": images / taken, "bytes_per_second": moved / taken}
