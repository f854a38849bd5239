"""The images below a folder: regular files, each real directory once along a path, the rest counted."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from pipeline.errors import DataError, machine_fault, one_line
from pipeline.sources.class_names import listed
from pipeline.sources.foreign import is_foreign
from pipeline.sources.unreadable import unread

ENDINGS = (
    ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tif", ".tiff", ".webp",
)  # fmt: skip

_Directory = tuple[int, int]
"""Device and inode of a directory: the same by whatever link it is reached."""


class Tree(Protocol):
    """Folders that hold images, on a disk or in an archive."""

    def folders(self, folder: Path, *, note: bool = False) -> tuple[list[str], list[str]]:
        """List the folders and the images directly in a folder, by name, sorted.

        What else is there enters the notes where ``note`` is set.
        """

    def images(self, root: Path) -> list[Path]:
        """List the images below a folder, in the order of their paths."""

    def notes(self) -> tuple[str, ...]:
        """Return what was left out so far, a line per kind."""

    @property
    def unread(self) -> str:
        """How many images were met whose formats aren't read, in words; empty for none."""


class Walk:
    """A walk through the folders of one set, with counts of what was left out.

    Links are followed, but never to a directory that they lie in: that would end nowhere, and lead through
    other classes. Within a class a directory that is reached by several links counts once.

    Parameters
    ----------
    top
        The set; names in notes are relative to it.
    """

    def __init__(self, top: Path) -> None:
        self._top = top
        self._above = _way_to(top)
        self._classes: dict[_Directory, Path] = {}
        """The first class in which each directory was met."""
        self._foreign: set[Path] = set()
        self._others: Counter[str] = Counter()
        self._loops: list[str] = []
        self._again: list[str] = []
        self._shared: list[str] = []
        self._broken: list[str] = []
        self._special: list[str] = []

    def folders(self, folder: Path, *, note: bool = False) -> tuple[list[str], list[str]]:
        """List the folders and the images directly in a folder, by name, sorted.

        What else is there enters the notes where ``note`` is set.

        Raises
        ------
        DataError
            When it can't be listed.
        """
        folders, images = [], []
        for entry, status in self._entries(folder, note=note):
            if status is not None and stat.S_ISDIR(status.st_mode):
                folders.append(entry.name)
            elif entry.name.lower().endswith(ENDINGS):
                images.append(entry.name)
            elif status is None and note:
                self._broken.append(self._name(folder / entry.name))
        return sorted(folders), sorted(images)

    def images(self, root: Path) -> list[Path]:
        """List the images below a class folder, in the order of their paths.

        Links that lead nowhere are among them where they are named like images: reading them names the fault.

        Raises
        ------
        DataError
            When a folder can't be listed.
        """
        found: list[tuple[str, Path]] = []
        met: set[_Directory] = set()
        waiting = [(root, "", self._above)]
        while waiting:
            folder, prefix, above = waiting.pop()
            if not self._enter(root, folder, above, met):
                continue
            above |= _way_to(folder)
            deeper = []
            for entry, status in self._entries(folder, note=True):
                path = folder / entry.name
                if status is not None and stat.S_ISDIR(status.st_mode):
                    deeper.append((path, f"{prefix}{entry.name}/", above))
                elif status is not None and not stat.S_ISREG(status.st_mode):
                    self._special.append(self._name(path))
                elif entry.name.lower().endswith(ENDINGS):
                    found.append((prefix + entry.name, path))
                elif status is None:
                    self._broken.append(self._name(path))
                else:
                    self._others[path.suffix.lower() or "no ending"] += 1
            # The last one is taken first.
            waiting += sorted(deeper, reverse=True)
        return [path for _, path in sorted(found)]

    def notes(self) -> tuple[str, ...]:
        """Return what was left out so far, a line per kind."""
        kinds = (
            (self._loops, "links to folders that they lie in are left out"),
            (self._again, "links to folders that their class holds already are left out"),
            (self._shared, "folders are linked into several classes or splits, and stay in each"),
            (self._broken, "links that lead nowhere are left out"),
            (self._special, "pipes, sockets or devices are left out"),
        )
        lines = [f"{len(paths):,} {words} ({listed(sorted(paths))})" for paths, words in kinds if paths]
        return (*lines, *left_out(self._others, self._foreign))

    @property
    def unread(self) -> str:
        """How many images were met whose formats aren't read; see `Tree`."""
        return said(unread(self._others)[0])

    def _enter(self, root: Path, folder: Path, above: frozenset[_Directory], met: set[_Directory]) -> bool:
        """Whether a folder is to be gone through."""
        try:
            here = _directory(folder.stat())
        except OSError as error:
            raise _unlistable(folder, error) from None
        if here in above or here in met:
            (self._loops if here in above else self._again).append(self._name(folder))
            return False
        met.add(here)
        if self._classes.setdefault(here, root) != root:
            self._shared.append(self._name(folder))
        return True

    def _entries(
        self, folder: Path, *, note: bool
    ) -> Iterator[tuple[os.DirEntry[str], os.stat_result | _Kind | None]]:
        """Yield what a folder holds with its kind, links followed: None for those that lead nowhere."""
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not is_foreign(entry.name):
                        yield entry, _status(entry)
                    elif note:
                        self._foreign.add(folder / entry.name)
        except OSError as error:
            raise _unlistable(folder, error) from None

    def _name(self, path: Path) -> str:
        return one_line(path.relative_to(self._top).as_posix())


def said(images: Counter[str]) -> str:
    """Return in words how many images of which endings there are whose formats aren't read; "" for none."""
    endings = listed([ending for ending, _ in images.most_common()])
    return (images and f"{images.total():,} images of formats that aren't read ({endings})") or ""


def left_out(others: Counter[str], foreign: Collection[Path]) -> list[str]:
    """Return notes on what is no part of a set.

    Parameters
    ----------
    others
        Endings of files that are no images that are read.
    foreign
        What `pipeline.sources.foreign.is_foreign`.
    """
    lines = []
    images, files = unread(others)
    if images:
        lines.append(f"{said(images)} are left out: convert them to JPEG or PNG to take them")
    if files:
        lines.append(
            f"{files.total():,} files that are no images by their endings are left out "
            f"({listed([ending for ending, _ in files.most_common()])})"
        )
    if foreign:
        names = sorted({one_line(path.name) for path in foreign})
        lines.append(
            f"{len(foreign):,} files and folders that are hidden or other programs' own are left out "
            f"({listed(names)})"
        )
    return lines


class _Kind:
    """The kind of a file whose entry in its directory states it, without a look at the file."""

    def __init__(self, mode: int) -> None:
        self.st_mode = mode


_FILE, _FOLDER = _Kind(stat.S_IFREG), _Kind(stat.S_IFDIR)


def _status(entry: os.DirEntry[str]) -> os.stat_result | _Kind | None:
    try:
        if entry.is_file(follow_symlinks=False):
            return _FILE
        if entry.is_dir(follow_symlinks=False):
            return _FOLDER
        return entry.stat()
    except OSError as error:
        fault_of_machine = machine_fault(one_line(entry.path), error)
        if fault_of_machine is not None:
            raise fault_of_machine from None
        return None


def is_folder(path: Path) -> bool:
    """Whether there is a folder.

    Raises
    ------
    DataError
        When that can't be looked up.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise _unlistable(path, error) from None


def _directory(status: os.stat_result) -> _Directory:
    return status.st_dev, status.st_ino


def _way_to(folder: Path) -> frozenset[_Directory]:
    """Return a directory and all that it really lies in."""
    real = folder.resolve()
    return frozenset(_directory(path.stat()) for path in (real, *real.parents))


def _unlistable(folder: Path, error: OSError) -> DataError:
    return machine_fault(one_line(str(folder)), error) or DataError(
        f"{one_line(str(folder))} must be a folder that can be listed; got {error.strerror}: mend its "
        "permissions, or move it out of the set"
    )
