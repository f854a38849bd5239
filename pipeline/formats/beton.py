"""Reader of ``.beton`` files: ours and FFCV's own."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import layout
from pipeline.formats.beton_writer import BetonWriter
from pipeline.formats.card import Card, read_card
from pipeline.formats.describe import describe
from pipeline.formats.structure import map_file, pick_fields, read_extras, read_structure


@dataclass(frozen=True)
class BetonFormat:
    """FFCV's .beton: one file, read by index; images raw or JPEG; FFCV's own Loader reads it too."""

    def open(self, path: Path) -> Beton:
        """Open a file for reading; see `Beton`."""
        return Beton(path)

    def create(self, path: Path, samples: int) -> BetonWriter:
        """Start a file of ``samples`` images; see `BetonWriter`."""
        return BetonWriter(path, samples)


class Beton:
    """A data set in one ``.beton`` file, mapped into memory.

    Opening checks the whole structure (pointers, sizes, shapes, labels), so that a reader which goes straight
    to ``data`` stays within the file. Pixels are looked at only when asked for.

    Parameters
    ----------
    path
        The file; its card is looked for beside it, then within it, and made from the file where neither is.
    lenient
        Open also when single samples are broken, as `trainer verify` wants; see `fault`.

    Attributes
    ----------
    path, card
        The file and its description.
    labels, heights, widths
        int64[n]; sizes in pixels.
    compressed
        bool[n]: True for JPEG bytes, False for raw HWC uint8 RGB.
    offsets, sizes
        int64[n]: sample i is ``data[offsets[i]:offsets[i] + sizes[i]]``.
    checksums
        uint32[n], CRC-32 of each sample's bytes; None in files that FFCV wrote.
    framed
        Whether labels, shapes, checksums, names and card are those that were written; None as above. False
        only where ``lenient``.
    data
        uint8, the whole file.

    Raises
    ------
    DataError
        When the file is missing, truncated, altered, or not a ``.beton`` of images and labels.
    CorruptSampleError
        When a sample points outside of the file or its label outside of the classes.
    """

    def __init__(self, path: Path | str, *, lenient: bool = False) -> None:
        self.path = Path(path)
        self.lenient = lenient
        self.data: NDArray[np.uint8] = map_file(self.path)
        header, fields, rows, allocations = read_structure(self.path, self.data)
        image, label = pick_fields(self.path, fields)
        columns = rows[f"f{image}"]
        self.labels: NDArray[np.int64] = rows[f"f{label}"].astype(np.int64)
        self.heights: NDArray[np.int64] = columns["height"].astype(np.int64)
        self.widths: NDArray[np.int64] = columns["width"].astype(np.int64)
        self.compressed: NDArray[np.bool_] = columns["mode"] == layout.JPEG_MODE
        pointers = columns["data_ptr"]
        order = np.argsort(allocations["ptr"])
        position = np.searchsorted(allocations["ptr"], pointers, sorter=order)
        nearest = allocations[order[np.minimum(position, len(order) - 1)]]
        allocated = nearest["ptr"] == pointers
        end = np.uint64(header["alloc_table_ptr"])
        within = (pointers <= end) & (nearest["size"] <= end - np.minimum(pointers, end))
        self._faults: dict[int, str] = {}
        self._blame((columns["mode"] > layout.RAW_MODE), "has a mode that is neither JPEG nor raw")
        self._blame(~allocated, "points to bytes that the allocation table doesn't know")
        self._blame(~within, f"points outside of the file's {self.data.size:,} bytes")
        self.offsets: NDArray[np.int64] = np.where(within, pointers, 0).astype(np.int64)
        self.sizes: NDArray[np.int64] = np.where(within & allocated, nearest["size"], 0).astype(np.int64)
        self._blame((self.heights == 0) | (self.widths == 0), "has no pixels")
        raw_size = self.heights * self.widths * 3
        self._blame(
            ~self.compressed & (self.sizes != raw_size), "holds another number of bytes than its shape needs"
        )
        self._extras = read_extras(self.path, self.data, fields[image]["arguments"], rows)
        self.checksums = None if self._extras is None else self._extras.checksums
        self.card = self._find_card()
        classes = len(self.card.classes)
        for broken in np.flatnonzero((self.labels < 0) | (self.labels >= classes)):
            fault = f"has label {self.labels[broken]}, and there are {classes} classes, numbered from 0"
            self._faults.setdefault(int(broken), fault)
        if self._faults and not lenient:
            raise self._corrupt(min(self._faults), self._faults[min(self._faults)])
        self.framed = None if self._extras is None else self._extras.framed
        if self.framed is False and not lenient:
            raise DataError(
                f"{self.path} must hold its labels, shapes and card as they were written; they were altered: "
                "get or convert it anew"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __reduce__(self) -> tuple[type[Beton], tuple[Path]]:
        # A memory map would be pickled as its bytes: another process had better map the file itself.
        return type(self), (self.path,)

    def encoded(self, index: int) -> bytes:
        """Give the bytes of sample ``index`` as they are stored: a JPEG file, or raw HWC pixels."""
        index = self._checked(index)
        start = int(self.offsets[index])
        return self.data[start : start + int(self.sizes[index])].tobytes()

    def image(self, index: int) -> NDArray[np.uint8]:
        """Decode sample ``index``: uint8[h, w, 3], RGB, a copy of its own.

        Raises
        ------
        DataError
            When there is no such sample.
        CorruptSampleError
            When its bytes aren't those that were written, or no JPEG of the expected shape.
        """
        pixels = self._read(self._checked(index))
        if isinstance(pixels, str):
            raise self._corrupt(index, pixels)
        return pixels

    def fault(self, index: int) -> str | None:
        """Read sample ``index`` and say what is wrong with it; None for a sound one."""
        pixels = self._read(self._checked(index))
        return pixels if isinstance(pixels, str) else None

    def name(self, index: int) -> str:
        """Name of sample ``index`` in its source ("airplane/0001.jpg"), or "sample 17" where not known."""
        index = self._checked(index)
        return self._names[index] if index < len(self._names) else f"sample {index}"

    @cached_property
    def _names(self) -> list[str]:
        if self._extras is None:
            return []
        try:
            names = zlib.decompress(self.data[self._extras.names].tobytes()).decode().split("\0")
        except (zlib.error, UnicodeDecodeError):
            # Names serve messages only, often about this very damage: numbers do as well.
            return []
        return names if len(names) == len(self) else []

    def _read(self, index: int) -> NDArray[np.uint8] | str:
        """Decode a sample, or say what is wrong with it."""
        if index in self._faults:
            return self._faults[index]
        content = self.encoded(index)
        shape = (int(self.heights[index]), int(self.widths[index]), 3)
        if self.checksums is not None and zlib.crc32(content) != self.checksums[index]:
            return "holds other bytes than were written (its checksum differs)"
        if not self.compressed[index]:
            return np.frombuffer(bytearray(content), np.uint8).reshape(shape)
        try:
            pixels = np.array(Image.open(io.BytesIO(content), formats=["JPEG"]).convert("RGB"))
        except Exception as error:  # Pillow's plugins raise whatever the damage leads them to.
            return f"can't be decoded ({error})"
        if pixels.shape != shape:
            return f"is {pixels.shape[0]}x{pixels.shape[1]}, and the file says {shape[0]}x{shape[1]}"
        return pixels

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise DataError(f"a sample of {self.path} must be one of 0 to {len(self) - 1}; got {index}")
        return int(index)

    def _blame(self, broken: NDArray[np.bool_], fault: str) -> None:
        for index in np.flatnonzero(broken):
            self._faults.setdefault(int(index), fault)

    def _corrupt(self, index: int, fault: str) -> CorruptSampleError:
        number = f"sample {index}"
        name = self.name(index)
        named = number if name == number else f"{number} ({name})"
        return CorruptSampleError(f"{self.path}: {named} {fault}; `trainer verify` lists all broken ones")

    def _find_card(self) -> Card:
        card = read_card(self.path)
        if card is None and self._extras is not None:
            text = self.data[self._extras.card].tobytes().decode(errors="replace")
            card = Card.from_json(text, self.path)
        if card is None:
            return describe(self)
        if card.samples != len(self):
            raise DataError(
                f"the card of {self.path} must describe its {len(self):,} samples; it describes "
                f"{card.samples:,}: delete the card to have one made from the file"
            )
        return card
