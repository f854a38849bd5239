"""Data sets on disk: one file a format, each with its card."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import DataError
from pipeline.formats.beton import Beton, BetonFormat
from pipeline.formats.card import Card, card_path
from pipeline.formats.protocol import Converted, Format, Sample, StoredImage, Writer
from pipeline.formats.webdataset import WebDataset, WebDatasetFormat

FORMATS: dict[str, type[Format]] = {"beton": BetonFormat, "wds": WebDatasetFormat}
"""Every format, by the ending of its files."""


def open_dataset(path: Path | str) -> Converted:
    """Open a converted data set, checking its structure.

    Raises
    ------
    DataError
        When the file is missing, of no known format, damaged, or at odds with its card.
    """
    return format_of(Path(path)).open(Path(path))


def format_of(path: Path) -> Format:
    """Give the format that a path's ending asks for; a folder is a WebDataset whatever its ending.

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
    "open_dataset",
]
