"""Writer of ``.beton`` files that FFCV's own Loader reads."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from pipeline.errors import DataError
from pipeline.formats import layout
from pipeline.formats.card import Card, card_path, write_card
from pipeline.formats.structure import frame_checksum
from pipeline.formats.whole import PartialFile, unwritable


class BetonWriter:
    """One file in the making: `append` every sample, `finish`, then `publish`.

    Nothing stands under the final name before `publish`; leaving the ``with`` block earlier removes what was
    written. The bytes depend on what is appended and on nothing else.

    Parameters
    ----------
    path
        The final name.
    samples
        How many will be appended.

    Raises
    ------
    DataError
        When there are no samples, the file can't be written, or another process is writing it.
    """

    def __init__(self, path: Path, samples: int) -> None:
        if samples < 1:
            raise DataError(f"{path} must hold at least 1 sample; got none")
        self.path = path
        self._fields = np.zeros(2, layout.FIELD)
        self._fields["type_id"] = layout.IMAGE_TYPE, layout.INT_TYPE
        self._fields["name"] = b"image", b"label"
        self._rows = np.zeros(samples, layout.metadata_type([layout.IMAGE_TYPE, layout.INT_TYPE]))
        self._allocations = np.zeros(samples, layout.ALLOCATION)
        self._checksums = np.zeros(samples, "<u4")
        self._names: list[str] = []
        self._page_size = layout.PAGE_SIZE
        self._position = _aligned(
            layout.HEADER.itemsize + self._fields.nbytes + self._rows.nbytes, self._page_size
        )
        self._partial = PartialFile(path)
        self._partial.file.seek(self._position)

    def append(
        self,
        content: bytes,
        *,
        height: int,
        width: int,
        compressed: bool,
        label: int,
        checksum: int,
        name: str,
    ) -> None:
        """Add the next sample.

        Parameters
        ----------
        content
            A JPEG file where ``compressed``, else raw HWC uint8 pixels, RGB.
        height, width
            In pixels.
        label
            Index of its class.
        checksum
            CRC-32 of ``content``.
        name
            In its source.

        Raises
        ------
        DataError
            When the image is larger than the format can hold, or the disk is full.
        """
        index = len(self._names)
        if max(height, width) > layout.LARGEST_SIDE or len(content) > layout.LARGEST_PAGE_SIZE:
            raise DataError(
                f"an image must have at most {layout.LARGEST_SIDE:,} pixels a side and "
                f"{layout.LARGEST_PAGE_SIZE:,} bytes; {name} has {height:,}x{width:,} pixels and "
                f"{len(content):,} bytes: give a max_resolution"
            )
        while len(content) > self._page_size:
            # Pages are counted from the file's start, so what fits the smaller ones fits the larger.
            self._page_size *= 2
        if self._position // self._page_size != (self._position + len(content) - 1) // self._page_size:
            self._position = _aligned(self._position, self._page_size)
        mode = layout.JPEG_MODE if compressed else layout.RAW_MODE
        self._rows[index] = (mode, width, height, self._position), label
        self._allocations[index] = index, self._position, len(content)
        self._checksums[index] = checksum
        self._names.append(name)
        self._write(content)

    def finish(self, card: Card) -> Card:
        """Write what frames the samples, wait for the disk, and give the card with the file's digest."""
        if len(self._names) != len(self._rows):
            raise AssertionError(f"{len(self._names)} of {len(self._rows)} samples were appended")
        extras = np.zeros((), layout.EXTRAS)
        extras["magic"], extras["schema"] = layout.MAGIC, layout.EXTRAS_SCHEMA
        names = zlib.compress("\0".join(self._names).encode())
        # Digest and version stay outside: the one can't be known within, the other would change the bytes.
        text = json.dumps(json.loads(replace(card, digest=None, created_by="").to_json())).encode()
        extras["checksums_ptr"] = self._write(self._checksums.tobytes())
        extras["names_ptr"], extras["names_size"] = self._write(names), len(names)
        extras["card_ptr"], extras["card_size"] = self._write(text), len(text)
        extras["frame_checksum"] = frame_checksum(
            self._rows.tobytes(), self._checksums.tobytes(), names, text
        )
        self._fields["arguments"][0] = extras.tobytes().ljust(layout.FIELD["arguments"].itemsize, b"\0")
        header = np.zeros((), layout.HEADER)
        header["version"], header["num_fields"] = layout.VERSION, len(self._fields)
        header["page_size"], header["num_samples"] = self._page_size, len(self._rows)
        self._position = _aligned(self._position, 8)
        header["alloc_table_ptr"] = self._write(self._allocations.tobytes())
        self._position = 0
        for part in (header, self._fields, self._rows):
            self._write(part.tobytes())
        try:
            self._partial.sync()
            self._partial.file.seek(0)
            return card.stamped(hashlib.file_digest(self._partial.file, "sha256").hexdigest())
        except OSError as error:
            raise unwritable(self.path, error) from None

    def publish(self, card: Card) -> None:
        """Give the finished file its name, and put its card beside it."""
        try:
            # Between the two renames the file speaks for itself: an older card would lie about it.
            card_path(self.path).unlink(missing_ok=True)
            self._partial.publish()
        except OSError as error:
            raise unwritable(self.path, error) from None
        write_card(self.path, card)

    def __enter__(self) -> BetonWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._partial.discard()

    def _write(self, content: bytes) -> int:
        """Write at the current position, move it on, and give where it was."""
        start = self._position
        try:
            if self._partial.file.tell() != start:
                self._partial.file.seek(start)
            self._position += self._partial.file.write(content)
        except OSError as error:
            raise unwritable(self.path, error) from None
        return start


def _aligned(position: int, size: int) -> int:
    return -(-position // size) * size
