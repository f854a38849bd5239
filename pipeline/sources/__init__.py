"""Sources of conversions: data sets by name, files, folders, and Python objects."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.errors import DataError
from pipeline.sources.archives import ArchivedImages, is_archive, splits_archived
from pipeline.sources.arrays import ArraySource
from pipeline.sources.csv_list import CsvList, is_list, splits_listed
from pipeline.sources.image_folder import ImageFolder, splits_in
from pipeline.sources.mini_imagenet import MiniImageNet
from pipeline.sources.named import NamedSource
from pipeline.sources.npz import open_npz
from pipeline.sources.parquet import ParquetSource
from pipeline.sources.photographs import Food101, ImageNet, Imagenette, Places365
from pipeline.sources.protocol import Source
from pipeline.sources.python_object import open_object
from pipeline.sources.shards import find_shards, name_of, other_shards
from pipeline.sources.tars import TarSource
from pipeline.sources.torchvision import Cifar10, Cifar100, FashionMnist, Svhn
from pipeline.sources.unlabeled import Unlabeled, UnlabeledFolder
from pipeline.targets import TargetKind

SOURCES: dict[str, type[NamedSource]] = {
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "fashion_mnist": FashionMnist,
    "food101": Food101,
    "imagenet": ImageNet,
    "imagenette": Imagenette,
    "mini_imagenet": MiniImageNet,
    "places365": Places365,
    "svhn": Svhn,
}
"""Every named data set."""

SHARDED: dict[str, Callable[[str, str, Sequence[Path], Sequence[Path], TargetKind | None], Source]] = {
    ".parquet": ParquetSource,
    ".tar": TarSource,
}
"""Every kind of sharded files, by ending."""

_PACKED = (".7z", ".bz2", ".gz", ".rar", ".xz", ".zst")
"""Endings of archives and compressed files."""

_OBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def data_directory() -> Path:
    """Return the folder of data sets: the environment variable BUDGETRAIN_DATA, or ``data``.

    Raises
    ------
    DataError
        When the variable names something else than a folder.
    """
    named = os.environ.get("BUDGETRAIN_DATA")
    if not named:
        return Path("data")
    folder = Path(os.path.expanduser(named))  # noqa: PTH111  (leaves an unknown user's as it is)
    if not folder.is_dir():
        raise DataError(
            f"BUDGETRAIN_DATA must name a folder; got {named}, which is none: make it, or unset it"
        )
    return folder


def open_source(
    text: str,
    *,
    split: str | None = None,
    data_dir: Path | None = None,
    download: bool = False,
    targets: TargetKind | None = None,
) -> Source:
    """Open a source by name, path or import path; a name of the table goes first.

    Parameters
    ----------
    text
        A name in `SOURCES`; an image folder, also as a ``.zip`` or ``.tar``; a ``.csv`` that lists images; an
        ``.npz``; ``.parquet`` files or ``.tar`` shards, as one file, a folder or a pattern; or
        ``module:name`` of a Python object.
    split
        The split; None for train, which an image folder must call by that name.
    data_dir
        Where the files of named sources are; `data_directory` by default.
    download
        Download a named source's files if they are missing.
    targets
        Kind of the images' targets; None for classes, and for the kind on the card of one of our
        WebDatasets. With "none" an image folder needs no class folders, and other sources no labels.

    Raises
    ------
    DataError
        When ``text`` is none of these, or the source has no such split or no files, or no targets of that
        kind.
    """
    part = split or "train"
    if text in SOURCES:
        _check_kind(text, targets)
        named = SOURCES[text]().open(part, data_dir or data_directory(), download)
        return Unlabeled(named) if targets == "none" else named
    path = Path(text)
    try:
        path.exists()
    except OSError as error:
        raise DataError(
            f"a source must be a name, or a path that can be looked up; got {text}, which can't be "
            f"({error.strerror}): mend the path or its permissions"
        ) from None
    if path.suffix.lower() == ".npz" and path.is_file():
        return open_npz(path, part, targets or "class")
    if is_list(path):
        return CsvList(path, split, targets)
    if is_archive(path):
        _check_kind(str(path), targets)
        return ArchivedImages(path, split, targets or "class")
    if path.is_dir() and splits_in(path):
        return _folder(path, split, targets)
    for ending, kind in SHARDED.items():
        shards = find_shards(text, ending, part)
        if shards:
            return kind(name_of(text), part, shards, other_shards(text, ending, part), targets)
    if path.is_dir():
        return _folder(path, split, targets)
    if _OBJECT.fullmatch(text) and not path.exists():
        return open_object(text, part, targets or "class")
    if path.is_file() and path.suffix.lower() in _PACKED:
        raise DataError(
            f"a source that is packed must be a .zip or .tar; got {text}: unpack it, and give the folder"
        )
    raise DataError(
        f"a source must be one of {', '.join(SOURCES)}, an image folder, .csv, .npz, .parquet, .tar or .zip "
        f"that is there, or MODULE:NAME; got {text}"
    )


def splits_of(text: str) -> tuple[str, ...]:
    """Return the splits that a folder, an archive or a list of images holds; none where it has none.

    Raises
    ------
    DataError
        When it can't be read.
    """
    path = Path(text)
    if path.is_dir():
        return splits_in(path)
    if is_list(path):
        return splits_listed(path)
    return splits_archived(path) if is_archive(path) else ()


def _folder(path: Path, split: str | None, targets: TargetKind | None) -> Source:
    _check_kind(str(path), targets)
    return UnlabeledFolder(path, split) if targets == "none" else ImageFolder(path, split)


def _check_kind(text: str, targets: TargetKind | None) -> None:
    """Check that the requested targets are classes or none, the only ones of named sets and folders."""
    if targets in ("multi_label", "value"):
        raise DataError(
            f"targets of kind {targets} must come from a column or array, of .csv, .parquet, .npz, .tar or "
            f"MODULE:NAME; {text} has one class per image: leave --targets out, or give none"
        )


__all__ = [
    "SHARDED",
    "SOURCES",
    "ArraySource",
    "ImageFolder",
    "Source",
    "data_directory",
    "open_source",
    "splits_of",
]
