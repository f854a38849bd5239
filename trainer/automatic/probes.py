"""Looks at some images before they are converted: their sizes, and whether they are gray."""

from __future__ import annotations

import contextlib

import numpy as np

from pipeline.errors import CorruptSampleError, DataError
from pipeline.modes import Mode
from pipeline.sources.encoded import EncodedImages
from pipeline.sources.protocol import Source

MOST = 64
"""Images that are looked at."""


def sides_of(source: Source) -> list[tuple[int, int]]:
    """Return heights and widths of some images; damaged ones are the conversion's to name.

    Raises
    ------
    DataError
        When none of them can be read.
    """
    found = []
    for index in _spread(len(source)):
        with contextlib.suppress(CorruptSampleError):
            height, width = source.read(index).shape[:2]
            found.append((height, width))
    if not found:
        raise DataError(f"images must be readable; none of {source.origin} that was tried is")
    return found


def mode_of(source: Source) -> tuple[Mode, str]:
    """Return the mode to store images in, and why: gray where all files that are looked at are gray."""
    if not isinstance(source, EncodedImages):
        return "RGB", "that of sources that aren't image files"
    kept: set[Mode] = set()
    for index in _spread(len(source)):
        with contextlib.suppress(CorruptSampleError):
            kept.add(source.kept_mode(index))
    if kept == {"I;16"}:
        return (
            "I;16",
            "all images that were tried are gray of 16 bits; `trainer convert --mode RGB` makes them 8",
        )
    if kept and "RGB" not in kept:
        return "L", "all images that were tried are gray; `trainer convert --mode RGB` makes three channels"
    return "RGB", "that of images in color"


def _spread(samples: int) -> list[int]:
    """Return the indices of some images, spread evenly."""
    spread = np.linspace(0, samples - 1, min(MOST, samples))
    return [int(index) for index in np.unique(spread.astype(np.int64))]
