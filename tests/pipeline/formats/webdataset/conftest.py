"""Fixtures of the tests of WebDataset folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_sets import Pixels, noise
from webdataset_folders import write


@pytest.fixture
def images() -> list[Pixels]:
    """Of 12 shapes."""
    return [noise(index, 20 + index, 31 - index) for index in range(12)]


@pytest.fixture
def mixed(tmp_path: Path, images: list[Pixels]) -> Path:
    """Raw images and JPEGs in several shards."""
    path = tmp_path / "mixed.wds"
    write(path, images, lambda index: index % 3 > 0, shard_size=20_000)
    return path
