"""Fixtures of the tests that read sets through engines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from engine_sets import CPU, STORES, Closing, make

from pipeline import EngineConfig, Reader
from pipeline.formats import Converted, open_dataset


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Converted]:
    folder = tmp_path_factory.mktemp("engines")
    return {
        (ending, encoding): open_dataset(make(folder / f"{encoding}.{ending}", encoding))
        for ending, encoding in STORES
    }


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


@pytest.fixture
def closing(no_thread_left: None) -> Iterator[Closing]:
    """Close at the end of a test, whatever becomes of it."""
    with ExitStack() as stack:

        def close(reader: Reader) -> Reader:
            stack.callback(reader.close)
            return reader

        yield close


@pytest.fixture
def opened(
    engine: EngineConfig, store: tuple[str, str], data: dict[tuple[str, str], Converted], no_thread_left: None
) -> Iterator[tuple[Converted, Reader]]:
    reader = engine.open(data[store], CPU)
    yield data[store], reader
    reader.close()
