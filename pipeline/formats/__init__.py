"""Formats of data sets on disk: one file per format, and the card of a data set."""

from __future__ import annotations

import zlib
from pathlib import Path

from typing_extensions import TypeIs

from pipeline.errors import DataError
from pipeline.formats.beton import Beton, BetonFormat
from pipeline.formats.card import Card, card_path
from pipeline.formats.protocol import Converted, Format, Sample, StoredImage, Writer
from pipeline.formats.samples import Samples
from pipeline.formats.webdataset import WebDataset, WebDatasetFormat

FORMATS: dict[str, type[Format]] = {"beton": BetonFormat, "wds": WebDatasetFormat}
"""Every format, by the ending of its files."""
_MOST_HASHED = 1 << 28
"""Maximum size in bytes of data whose digest is computed on opening, in some tenths of a second."""


def open_dataset(path: Path | str) -> Converted:
    """Open a converted data set, checking its structure, and that its card is its own.

    For data up to 256 MiB the digest on the card is compared with the data's; `trainer verify` compares it
    whatever the size.

    Raises
    ------
    DataError
        When the file is missing, of no known format, damaged, or at odds with its card.
    """
    form = format_of(Path(path))
    data = form.open(Path(path))
    digest = data.card.digest
    if digest is None or sum(shard.size for shard in data.shards) > _MOST_HASHED:
        return data
    # Damaged samples are reported by name when they are read; the card may well be right.
    if form.digest(data.path) != digest and not _is_damaged(data):
        raise DataError(
            f"{card_path(data.path)} must have the digest of {data.path}; its digest is another's: delete "
            "the card to have one made from the data file, or convert the images again"
        )
    return data


def _is_damaged(data: Converted) -> bool:
    """Whether a sample's checksum is wrong at any level."""
    return any(
        part.checksums is not None and zlib.crc32(part.encoded(index)) != part.checksums[index]
        for part in (data, *map(data.at, data.levels))
        for index in range(len(data))
    )


def is_converted(images: object) -> TypeIs[Converted]:
    """Return whether images are a converted set that was opened, rather than a source to convert."""
    return isinstance(images, Samples)


def format_of(path: Path) -> Format:
    """Return the format of a path by its ending; a folder is a WebDataset whatever its ending.

    Raises
    ------
    DataError
        When no format has that ending.
    """
    ending = path.suffix.removeprefix(".")
    if ending not in FORMATS and path.is_dir():
        return WebDatasetFormat()
    if ending not in FORMATS:
        raise DataError(
            f"a converted data set must end in {' or '.join('.' + name for name in FORMATS)}; got {path}: "
            "name one that `trainer convert` made, or is to make"
        )
    return FORMATS[ending]()


__all__ = [
    "FORMATS",
    "Beton",
    "BetonFormat",
    "Card",
    "Converted",
    "Format",
    "Sample",
    "StoredImage",
    "WebDataset",
    "WebDatasetFormat",
    "Writer",
    "card_path",
    "format_of",
    "is_converted",
    "open_dataset",
]
