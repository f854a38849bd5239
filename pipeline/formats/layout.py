"""Layout of ``.beton`` files: that of FFCV 1.0.2, version 2, little-endian throughout.

::

    header               24 bytes
    field descriptors    1,041 bytes each
    metadata             one row per sample: image (mode, width, height, pointer), label, image at each level
    padding              to the start of a page
    pages                the images' bytes, each level's on pages of its own; labels and values that are rows
    extras               of ours only
    allocation table     one row per sample (number, pointer, size), to the end of the file

A sample's bytes lie within one page, which is what FFCV's process cache relies on. FFCV never reads the
arguments of its image field; files of ours keep pointers to three extras there (a checksum for each sample,
then for each sample at each level; the samples' names; the card), with a checksum of those and of the
metadata, and stay ordinary FFCV files. A level's field is called ``image_<level>``; an image that is no
larger than the level shares the bytes of the sample's full image.

The field ``label`` follows the kind of the targets (`pipeline.targets.TargetSpec`), so that FFCV's own Loader
reads every kind:

=========== ================================================= =================================
kind        FFCV's field type                                 FFCV's decoder
=========== ================================================= =================================
class       ``IntField`` (1), int64 in the metadata           ``IntDecoder``
value       ``FloatField`` (0), float64 in the metadata       ``FloatDecoder``
value rows  ``NDArrayField`` (4), float32[columns] on pages   ``NDArrayDecoder``
multi_label ``NDArrayField`` (4), uint8[C] on pages           ``NDArrayDecoder``
none        no such field
=========== ================================================= =================================
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from pipeline.modes import MODES, Mode
from pipeline.targets import TargetSpec

VERSION = 2
MAGIC = b"budgetrn"
EXTRAS_SCHEMA = 1

PAGE_SIZE = 1 << 23
"""Bytes per page unless a sample needs more (FFCV's default)."""
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

FLOAT_TYPE = 0
INT_TYPE = 1
IMAGE_TYPE = 2
GRAY_TYPE = 255
"""FFCV's type for fields of a writer's own, for which its Loader refuses a file: its images are RGB."""
NDARRAY_TYPE = 4
TENSOR_TYPE = 6
_BYTES = np.dtype([("ptr", "<u8"), ("size", "<u8")])
METADATA_TYPES: dict[int, np.dtype[np.void] | np.dtype[np.generic]] = {
    FLOAT_TYPE: np.dtype("<f8"),
    INT_TYPE: np.dtype("<i8"),
    IMAGE_TYPE: IMAGE,
    3: _BYTES,  # BytesField
    NDARRAY_TYPE: np.dtype("<u8"),
    5: _BYTES,  # JSONField
    TENSOR_TYPE: np.dtype("<u8"),
    GRAY_TYPE: IMAGE,
}
"""Columns of a metadata row for each of FFCV's field types, and for ours."""


def metadata_type(type_ids: list[int]) -> np.dtype[np.void]:
    """Return the dtype of a metadata row, aligned as a C structure; columns are named f0, f1, ... by field.

    Raises
    ------
    KeyError
        When a type is not one of FFCV's own.
    """
    return np.dtype([(f"f{i}", METADATA_TYPES[type_id]) for i, type_id in enumerate(type_ids)], align=True)


_ARRAY = np.dtype([("shape", "<u8", 32), ("type_length", "<u8")])
"""Arguments of FFCV's NDArrayField and TorchTensorField; the type's description follows, as JSON."""


_MODE = FIELD["arguments"].itemsize - 8
"""Where the arguments of a field of gray images name its mode."""


def image_type(mode: Mode) -> int:
    """Return the type of the fields that hold images of a mode."""
    return IMAGE_TYPE if mode == "RGB" else GRAY_TYPE


def image_arguments(mode: Mode, content: bytes = MAGIC) -> bytes:
    """Return the arguments of a field of images: their content, and the mode where it isn't RGB."""
    name = b"" if mode == "RGB" else mode.encode()
    return content.ljust(_MODE, b"\0") + name.ljust(8, b"\0")


def mode_of(type_id: int, arguments: bytes) -> Mode | None:
    """Return the mode of a field's images; None where it is no field of images of ours or of FFCV's."""
    if type_id == IMAGE_TYPE:
        return "RGB"
    if type_id != GRAY_TYPE or not arguments.startswith(MAGIC):
        return None
    name = arguments[_MODE:].rstrip(b"\0").decode("ascii", "replace")
    return next((mode for mode in MODES if mode == name), None)


def label_type(spec: TargetSpec) -> int | None:
    """Return the FFCV type of the field for such targets; None if there is no field."""
    if spec.kind == "none":
        return None
    return INT_TYPE if spec.kind == "class" else NDARRAY_TYPE if spec.row else FLOAT_TYPE


def array_arguments(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the arguments of an array's field as FFCV writes them."""
    text = json.dumps(dtype.descr).encode()
    arguments = np.zeros((), _ARRAY)
    arguments["shape"][: len(shape)] = shape
    arguments["type_length"] = len(text)
    return arguments.tobytes() + text


def array_type(arguments: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return data type and shape of an array's field from its arguments.

    Raises
    ------
    ValueError
        When they are damaged.
    """
    found = np.frombuffer(arguments, _ARRAY, 1)[0]
    text = arguments[_ARRAY.itemsize :][: int(found["type_length"])]
    try:
        described = json.loads(text.decode("ascii"))
        dtype = np.dtype([("f0", described[0][1])])["f0"]
    except (ValueError, TypeError, LookupError, RecursionError):
        raise ValueError("an array's type that can't be read") from None
    shape = found["shape"].tolist()
    while shape and shape[-1] == 0:
        shape.pop()
    return dtype, tuple(shape)


_LEVEL = re.compile(r"image_([1-9][0-9]{0,8})")


def level_name(level: int) -> str:
    """Return the name of the image field that holds a level."""
    return f"image_{level}"


def level_of(name: str) -> int | None:
    """Return the level that an image field of this name holds; None for other names."""
    found = _LEVEL.fullmatch(name)
    return int(found[1]) if found else None


class Pages:
    """Allocates offsets of images, for one or several runs of images that each fill pages of their own.

    A separate run for each level keeps its images together, so that reading one level touches few pages of
    the others. Offsets follow from the sizes alone.

    Parameters
    ----------
    start
        First byte that is free.
    runs
        Number of runs.
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
        """Return the offset of the next image of ``size`` bytes in a run."""
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
