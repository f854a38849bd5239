"""Fixtures of the tests of FFCV files."""

from __future__ import annotations

from pathlib import Path

import pytest
from beton_files import write
from drawn_sets import noise


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """20 raw images of 6 x 5 pixels."""
    path = tmp_path / "raw.beton"
    write(path, [noise(index, 6, 5) for index in range(20)])
    return path


@pytest.fixture
def compressed(tmp_path: Path) -> Path:
    """8 JPEGs of 40 x 30 pixels."""
    path = tmp_path / "jpeg.beton"
    write(path, [noise(index, 40, 30) for index in range(8)], lambda index: True)
    return path
