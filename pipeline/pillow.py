"""Context manager that sets Pillow's limit on the size of images."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

MOST_PIXELS = 178_956_970
"""Default maximum number of pixels of a decoded image: Pillow's own limit."""
_lock = threading.Lock()
_active: list[float] = []
_own: list[int | None] = []
"""Pillow's limit from before the first of the active ones."""


@contextmanager
def pixel_limit(most: int | None) -> Iterator[None]:
    """Let Pillow decode images of up to ``most`` pixels within, in all threads; of any size for None.

    Larger ones are refused by their headers, before memory is allocated. May be nested,
    also by other threads: the largest limit holds, and Pillow's own is back when the last one is left.
    """
    limit = math.inf if most is None else float(most)
    with _lock:
        if not _active:
            _own.append(Image.MAX_IMAGE_PIXELS)
        _active.append(limit)
        _set()
    try:
        yield
    finally:
        with _lock:
            _active.remove(limit)
            if _active:
                _set()
            else:
                Image.MAX_IMAGE_PIXELS = _own.pop()


def _set() -> None:
    largest = max(_active)
    # Pillow refuses what is larger than twice its limit, and warns of what is larger than that.
    Image.MAX_IMAGE_PIXELS = None if largest == math.inf else math.ceil(largest / 2)
