"""Sets and readers, as every test of engines has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_fixtures import closing, data, no_thread_left, opened
from photographs_on_disk import CPU, jpeg, photo, write

from pipeline.engines.dali import DaliEngine, DaliReader
from pipeline.formats.beton import Beton

__all__ = ["closing", "data", "no_thread_left", "opened"]


@pytest.fixture
def photos(tmp_path: Path) -> Beton:
    """24 JPEGs of 24 shapes."""
    return write(tmp_path / "photos.beton", [jpeg(photo(i, 90 + 3 * i, 130 - 2 * i)) for i in range(24)])


@pytest.fixture
def square(tmp_path: Path) -> Beton:
    """16 JPEGs of 48 x 64 pixels."""
    return write(tmp_path / "square.beton", [jpeg(photo(i, 48, 64)) for i in range(16)])


@pytest.fixture
def reader(photos: Beton) -> DaliReader:
    return DaliEngine(threads=2).open(photos, CPU)
