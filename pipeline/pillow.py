"""Pillow's limit on the size of images, lifted for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

_limit = threading.Lock()
_limits: list[int | None] = []
"""Pillow's limits to put back, one for every `any_size` that is entered."""


@contextmanager
def any_size() -> Iterator[None]:
    """Let Pillow decode images of any size in here, in all threads: by itself it refuses very large ones.

    It takes them for an attack. May be entered again, also by other threads: the limit is back when the last
    one is left.
    """
    with _limit:
        _limits.append(Image.MAX_IMAGE_PIXELS)
        Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        # All but the first have found None, so the last one to leave puts back the limit.
        with _limit:
            Image.MAX_IMAGE_PIXELS = _limits.pop()
