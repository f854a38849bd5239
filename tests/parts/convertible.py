"""Small sources to convert."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from image_files import noise

from pipeline.sources import ArraySource

FOLDER = [(30, 40), (50, 20), (64, 64), (1, 1), (7, 64)]


def arrays(samples: int = 100, classes: int = 4, side: int = 6) -> ArraySource:
    labels = np.random.default_rng(1).integers(0, classes, samples)
    names = tuple(f"c{label}" for label in range(classes))
    return ArraySource("noise", "train", "noise of the test", names, labels, noise(0, samples, side, side, 3))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())
