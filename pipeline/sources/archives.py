"""Folders of images in a zip or tar archive, read without unpacking it to a disk."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError, one_line
from pipeline.formats.tar_archive import TarArchive, holds_folders
from pipeline.formats.zip_archive import ZipArchive
from pipeline.sources.arrangement import Arrangement, in_classes, unlabeled
from pipeline.sources.encoded import EncodedImages, shards_fingerprint
from pipeline.sources.folder_splits import FolderSplits
from pipeline.sources.foreign import is_foreign
from pipeline.sources.image_files import JPEG_ENDINGS
from pipeline.sources.protocol import no_labels
from pipeline.sources.splits import plain_split, split_in_words
from pipeline.sources.unreadable import unread
from pipeline.sources.walk import ENDINGS, left_out, said
from pipeline.targets import TargetKind

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
"""Endings of tars that are compressed as a whole, within which nothing can be found without unpacking all."""


class Archive(Protocol):
    """Files in one file."""

    @property
    def path(self) -> Path:
        """The archive."""

    @property
    def files(self) -> Collection[str]:
        """Names of its files, with ``/`` between folders."""

    @property
    def folders(self) -> Collection[str]:
        """Names of folders that have entries of their own."""

    def check(self, name: str) -> None:
        """Raise DataError if a file can't be read, by what is known without reading it."""

    def read(self, name: str) -> bytes:
        """Return the content of a file; raise OSError, or ValueError where it is damaged."""


def open_archive(path: Path) -> Archive:
    """Open an archive by its ending, .zip or .tar.

    Raises
    ------
    DataError
        When it is cut off, damaged or compressed as a whole.
    """
    return TarArchive(path, ENDINGS) if path.suffix.lower() == ".tar" else ZipArchive(path)


class ArchiveTree:
    """The folders and images of an archive, as `pipeline.sources.walk.Tree`.

    Paths are those of the files below the archive's own: ``photos.zip/cat/1.jpg``.

    Parameters
    ----------
    archive
        The archive.

    Attributes
    ----------
    names
        The name in the archive of each image, by its path.
    top
        The folder of the set: the archive, or where it holds one folder alone, as most do, that one.

    Raises
    ------
    DataError
        When an image is encrypted, a link, or compressed in a way that isn't read.
    """

    def __init__(self, archive: Archive) -> None:
        self.names: dict[Path, str] = {}
        self._folders: defaultdict[Path, set[str]] = defaultdict(set)
        self._images: defaultdict[Path, list[str]] = defaultdict(list)
        self._others: Counter[str] = Counter()
        self._foreign: set[Path] = set()
        for name in (*archive.files, *archive.folders):
            path = self._place(archive.path, name, within=name in archive.folders)
            if path is None or name in archive.folders:
                continue
            if name.lower().endswith(ENDINGS):
                archive.check(name)
                self.names[path] = name
                self._images[path.parent].append(path.name)
            else:
                self._others[path.suffix.lower() or "no ending"] += 1
        self.top = archive.path
        while len(self._folders[self.top]) == 1 and not self._images[self.top]:
            (below,) = self._folders[self.top]
            if plain_split(below) is not None or self._images[self.top / below]:
                break
            self.top /= below

    def folders(self, folder: Path, *, note: bool = False) -> tuple[list[str], list[str]]:
        """List the folders and the images directly in a folder; see `pipeline.sources.walk.Tree`."""
        return sorted(self._folders[folder]), sorted(self._images[folder])

    def images(self, root: Path) -> list[Path]:
        """List the images below a folder; see `pipeline.sources.walk.Tree`."""
        found = []
        waiting = [(root, "")]
        while waiting:
            folder, prefix = waiting.pop()
            found += [(prefix + name, folder / name) for name in self._images[folder]]
            waiting += [(folder / name, f"{prefix}{name}/") for name in self._folders[folder]]
        return [path for _, path in sorted(found)]

    def notes(self) -> tuple[str, ...]:
        """Return what is no part of the set; see `pipeline.sources.walk.Tree`."""
        return tuple(left_out(self._others, self._foreign))

    @property
    def unread(self) -> str:
        """How many images it holds whose formats aren't read; see `pipeline.sources.walk.Tree`."""
        return said(unread(self._others)[0])

    def _place(self, top: Path, name: str, *, within: bool) -> Path | None:
        """Return the path of a file or folder, and enter its folders; None for what isn't the set's."""
        parts = PurePosixPath(name).parts
        path = top
        for number, part in enumerate(parts):
            if is_foreign(part):
                self._foreign.add(path / part)
                return None
            if within or number + 1 < len(parts):
                self._folders[path].add(part)
            path /= part
        return path if parts else None


class ArchivedImages(EncodedImages):
    """Images in ``CLASS/IMAGE`` or ``SPLIT/CLASS/IMAGE`` of an archive.

    What is a class and what a split is as in `pipeline.sources.image_folder.ImageFolder`; the archive may
    hold the set in a folder.

    Parameters
    ----------
    path
        The archive.
    split
        As for an image folder; without targets also None for train.
    kind
        "class", or "none" for any images at all, without their classes.
    whole
        Take all images of the archive, whatever their folders are called: for kind "none".

    Raises
    ------
    DataError
        When the archive or its set can't be read; see `open_archive`, `ArchiveTree` and `ImageFolder`.
    """

    def __init__(
        self, path: Path, split: str | None = None, kind: TargetKind = "class", *, whole: bool = False
    ) -> None:
        self._archive = open_archive(path)
        self.kind = kind
        tree = ArchiveTree(self._archive)
        name = one_line(path.absolute().parent.name if split_in_words(path.stem) is not None else path.stem)
        if whole:
            # Named by the archive, of which there may be several.
            found = Arrangement(name, "all", (), tree.notes(), path.parent, tree.images(path), [], "")
            if not found.files:
                raise DataError(
                    f"an archive of images must hold some ({', '.join(ENDINGS)}); {path} holds "
                    f"{tree.unread or 'none'}: name another"
                )
        else:
            found = (unlabeled if kind == "none" else in_classes)(tree, tree.top, split, name)
        self._root, self._files = found.root, found.files
        self._names = [tree.names[file] for file in self._files]
        self.name, self.split, self.classes, self.notes = found.name, found.split, found.classes, found.notes
        self.origin = f"{path.suffix.removeprefix('.').lower()} archive {found.name}{found.part}"
        self.labels: NDArray[Any] = (
            no_labels(len(self._files)) if kind == "none" else np.array(found.labels, np.int64)
        )

    def __len__(self) -> int:
        return len(self._files)

    def fingerprint(self) -> str:
        """Digest the images' names, and the archive's name, size and time; see `Source.fingerprint`."""
        names = "\n".join([shards_fingerprint([self._archive.path]), *self._names])
        return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()

    def sample_name(self, index: int) -> str:
        """Return the path of image ``index`` within the split."""
        return self._files[index].relative_to(self._root).as_posix()

    def _bytes(self, index: int) -> bytes:
        return self._archive.read(self._names[index])

    def _may_be_jpeg(self, index: int) -> bool:
        return self._names[index].lower().endswith(JPEG_ENDINGS)

    def _place(self, index: int) -> str:
        return one_line(str(self._files[index]))


def splits_archived(path: Path) -> tuple[str, ...]:
    """Return the splits of a set in an archive: folders with a split's name that hold folders themselves.

    Raises
    ------
    DataError
        When the archive can't be read.
    """
    tree = ArchiveTree(open_archive(path))
    return tuple(FolderSplits(tree, tree.top).present)


def is_archive(path: Path) -> bool:
    """Return whether a path is that of an archive of folders: a .zip, or a .tar without files of labels.

    Raises
    ------
    DataError
        When a tar can't be read, or is compressed as a whole.
    """
    if path.name.lower().endswith(COMPRESSED) and path.is_file():
        raise DataError(
            f"a tar must be uncompressed, as images are read where they lie in it; got {path}: unpack it, "
            "and give the folder"
        )
    ending = path.suffix.lower()
    return ending in (".zip", ".tar") and path.is_file() and (ending == ".zip" or holds_folders(path))
