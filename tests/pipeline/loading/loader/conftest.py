"""Fixtures of the loader's tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline import open_dataset
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.formats import Beton
from pipeline.sources import ArraySource


@pytest.fixture
def data(fashion: Path) -> Beton:
    return open_dataset(fashion / "fashion_mnist" / "train.beton")  # type: ignore[return-value]


@pytest.fixture
def jpegs(data: Beton, tmp_path: Path) -> Beton:
    """The same as JPEGs, which are worth a thread that reads ahead; raw images of this size aren't."""
    images = np.stack([data.image(index) for index in range(len(data))])
    source = ArraySource("jpegs", "train", "test", data.card.classes, data.labels, images)
    convert(source, tmp_path / "jpegs.beton", ConvertOptions(encoding="jpeg"))
    return open_dataset(tmp_path / "jpegs.beton")  # type: ignore[return-value]


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before
