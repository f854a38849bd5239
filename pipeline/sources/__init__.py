"""What a conversion can read from: data sets by name, and image folders."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import DataError
from pipeline.sources.arrays import ArraySource
from pipeline.sources.image_folder import ImageFolder
from pipeline.sources.protocol import Source
from pipeline.sources.torchvision import Cifar10, Cifar100, FashionMnist, NamedSource, Svhn

SOURCES: dict[str, type[NamedSource]] = {
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "fashion_mnist": FashionMnist,
    "svhn": Svhn,
}
"""Every data set that has a name."""


def data_directory() -> Path:
    """Give the folder where data live: the environment variable BUDGETRAIN_DATA, or ``data``."""
    return Path(os.environ.get("BUDGETRAIN_DATA") or "data")


def open_source(
    text: str, *, split: str = "train", data_dir: Path | None = None, download: bool = False
) -> Source:
    """Open a source by name or by path; a name of the table goes first.

    Parameters
    ----------
    text
        A name in `SOURCES`, or the path of an image folder.
    split
        Which part of it.
    data_dir
        Where the files of named sources are; `data_directory` by default.
    download
        Fetch a named source's files where they are not there.

    Raises
    ------
    DataError
        When ``text`` is neither, or the source has no such split or no files.
    """
    if text in SOURCES:
        return SOURCES[text]().open(split, data_dir or data_directory(), download)
    if Path(text).is_dir():
        return ImageFolder(Path(text), split)
    raise DataError(
        f"a source must be one of {', '.join(SOURCES)}, or an image folder that is there; got {text}"
    )


__all__ = ["SOURCES", "ArraySource", "ImageFolder", "Source", "data_directory", "open_source"]
