"""Where things are in a ``.beton`` file: the layout of FFCV 1.0.2, version 2, little-endian throughout.

::

    header               24 bytes
    field descriptors    1,041 bytes each
    metadata             one row per sample: image (mode, width, height, pointer), label, image at each level
    padding              to the start of a page
    pages                the images' bytes, each level's on pages of its own
    extras               of ours only
    allocation table     one row per sample (number, pointer, size), to the end of the file

A sample's bytes lie within one page, which is what FFCV's process cache relies on. FFCV never reads the
arguments of its image field; files of ours keep pointers to three extras there (a checksum for each sample,
then for each sample at each level; the samples' names; the card), with a checksum of those and of the
metadata, and stay ordinary FFCV files. A level's field is called ``image_<level>``; an image that is no
larger than the level shares the bytes of the sample's full image.
"""

from __future__ import annotations

import re

import numpy as np

VERSION = 2
MAGIC = b"budgetrn"
EXTRAS_SCHEMA = 1

PAGE_SIZE = 1 << 23
"""Bytes of a page where no sample needs more (FFCV's default)."""
LARGEST_PAGE_SIZE = 1 << 31
LARGEST_SIDE = (1 << 16) - 1
"""Height and width are stored in 16 bits."""

JPEG_MODE = 0
RAW_MODE = 1

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ]
)
FIELD = np.dtype([("type_id", "u1"), ("name", "S16"), ("arguments", "V1024")])
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])
IMAGE = np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])
EXTRAS = np.dtype(
    [
        ("magic", "S8"),
        ("schema", "<u8"),
        ("checksums_ptr", "<u8"),
        ("names_ptr", "<u8"),
        ("names_size", "<u8"),
        ("card_ptr", "<u8"),
        ("card_size", "<u8"),
        ("frame_checksum", "<u8"),
    ]
)

INT_TYPE = 1
IMAGE_TYPE = 2
_BYTES = np.dtype([("ptr", "<u8"), ("size", "<u8")])
METADATA_TYPES: dict[int, np.dtype[np.void] | np.dtype[np.generic]] = {
    0: np.dtype("<f8"),  # FloatField
    INT_TYPE: np.dtype("<i8"),
    IMAGE_TYPE: IMAGE,
    3: _BYTES,  # BytesField
    4: np.dtype("<u8"),  # NDArrayField
    5: _BYTES,  # JSONField
    6: np.dtype("<u8"),  # TorchTensorField
}
"""What a metadata row holds for each of FFCV's field types; 255 (not here) is a field of the writer's own."""


def metadata_type(type_ids: list[int]) -> np.dtype[np.void]:
    """Give the data type of a metadata row, aligned as a C structure; columns are named f0, f1, ... by field.

    Raises
    ------
    KeyError
        When a type is not one of FFCV's own.
    """
    return np.dtype([(f"f{i}", METADATA_TYPES[type_id]) for i, type_id in enumerate(type_ids)], align=True)


_LEVEL = re.compile(r"image_([1-9][0-9]{0,8})")


def level_name(level: int) -> str:
    """Name the image field that holds a level."""
    return f"image_{level}"


def level_of(name: str) -> int | None:
    """Give the level that an image field of this name holds; None for other names."""
    found = _LEVEL.fullmatch(name)
    return int(found[1]) if found else None


class Pages:
    """Where images go, for one or several runs of images that each fill pages of their own.

    A run apart for each level keeps a level's images together, so that reading one level touches few pages of
    the others. Places follow from the sizes alone.

    Parameters
    ----------
    start
        First byte that is free.
    runs
        How many runs there are.
    """

    def __init__(self, start: int, runs: int) -> None:
        self.size = PAGE_SIZE
        self._free = aligned(start, self.size)
        self._cursors = [self._free] * runs
        self._ends = [self._free] * runs

    @property
    def used(self) -> int:
        """First byte after every image so far."""
        return max(self._cursors)

    def place(self, run: int, size: int) -> int:
        """Give the place of the next image of ``size`` bytes in a run."""
        while size > self.size:
            # Pages are counted from the file's start, so what lies within a smaller one lies within a larger.
            self.size *= 2
        if self._cursors[run] + size > self._ends[run]:
            self._cursors[run] = aligned(self._free, self.size)
            self._ends[run] = self._free = self._cursors[run] + self.size
        place = self._cursors[run]
        self._cursors[run] += size
        return place


def aligned(position: int, size: int) -> int:
    """Round ``position`` up to a multiple of ``size``."""
    return -(-position // size) * size
