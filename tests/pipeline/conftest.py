"""Fixtures of the data pipeline's tests."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest


@pytest.fixture
def no_more_files() -> Callable[[], AbstractContextManager[None]]:
    """Return a context in which this process can open no file."""

    @contextmanager
    def lowered() -> Iterator[None]:
        # Files and maps that nobody holds any more would free descriptors in the midst of it.
        gc.collect()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.open(os.devnull, os.O_RDONLY)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    return lowered
