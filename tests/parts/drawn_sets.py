"""Seeded noise as images, and the card of a set that a test writes sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.formats.card import Card

Pixels = NDArray[np.uint8]


def noise(seed: int, height: int, width: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def card_of(shapes: Sequence[tuple[int, ...]], counts: dict[str, int], **entries: Any) -> Card:
    """Return the card of images of these heights and widths, with the number of samples of each class."""
    heights, widths = [shape[0] for shape in shapes], [shape[1] for shape in shapes]
    usual: dict[str, Any] = {
        "name": "noise",
        "split": "train",
        "height": None,
        "width": None,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "encoding": "mixed",
        "quality": 90,
        "source": "noise",
    }
    return Card(
        samples=len(shapes),
        classes=tuple(counts),
        class_counts=tuple(counts.values()),
        min_height=min(heights),
        max_height=max(heights),
        min_width=min(widths),
        max_width=max(widths),
        **{**usual, **entries},
    )
