from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image folder of 30 images with splits, a class with markup in its name, and a stray file."""
    for index in range(30):
        for split in ("train", "test"):
            path = tmp_path / "pets" / split / ("cat", "dog [bold]")[index % 2] / f"{index:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = np.random.default_rng(index).integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(image).save(path)
    (tmp_path / "pets" / "train" / "cat" / "notes.txt").touch()
    return tmp_path / "pets"
