"""Fixtures of the conversion's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from convertible import FOLDER
from image_files import noise
from PIL import Image

from pipeline.sources import ArraySource, open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of five sizes, in turn PNG and JPEG, in three classes."""
    for index in range(40):
        path = tmp_path / "set" / "abc"[index % 3] / f"{index:02}.{('png', 'jpg')[index % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(index, *FOLDER[index % 5], 3)).save(path)
    return tmp_path / "set"


@pytest.fixture(scope="session")
def clothes(drawn: Path) -> ArraySource:
    """2,000 images in the files of Fashion-MNIST's test split."""
    source = open_source("fashion_mnist", split="test", data_dir=drawn)
    images = np.stack([source.read(index) for index in range(2000)])
    return ArraySource("fashion_mnist", "test", source.origin, source.classes, source.labels, images)
