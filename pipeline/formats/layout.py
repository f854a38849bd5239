"""Where things are in a ``.beton`` file: the layout of FFCV 1.0.2, version 2, little-endian throughout.

::

    header               24 bytes
    field descriptors    1,041 bytes each
    metadata             one row a sample: image (mode, width, height, pointer), label
    padding              to the start of a page
    pages                the images' bytes
    extras               of ours only
    allocation table     one row a sample (number, pointer, size), to the end of the file

A sample's bytes lie within one page, which is what FFCV's process cache relies on. FFCV never reads the
arguments of its image field; files of ours keep pointers to three extras there (a checksum a sample, the
samples' names, the card), with a checksum of those and of the metadata, and stay ordinary FFCV files.
"""

from __future__ import annotations

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
