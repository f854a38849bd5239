"""The files in a tar that isn't WebDataset's: one of folders, as somebody packs a set of images."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import DataError, one_line
from pipeline.formats.tar_members import tar_members
from pipeline.formats.zip_archive import within

_LABELS = ("cls", "json", "npy", "txt")
"""Endings of WebDataset's files that say what is on an image."""
_LOOKED_AT = 8
"""Files that decide of which kind a tar is: WebDataset has an image's label beside it."""


class TarArchive:
    """A tar of files in folders.

    Parameters
    ----------
    path
        The tar, uncompressed.
    endings
        Those of files that are to be read, which must be files themselves.

    Attributes
    ----------
    path
        The tar.
    files
        Where each file begins and how many bytes it has, by its name, with ``/`` between folders.
    folders
        None: folders without files are no classes.

    Raises
    ------
    DataError
        When the tar is cut off, damaged or compressed, or two of its files have one name.
    """

    def __init__(self, path: Path, endings: tuple[str, ...]) -> None:
        self.path = path
        self.files: dict[str, tuple[int, int]] = {}
        self.folders: tuple[str, ...] = ()
        for _, _, member in tar_members(path, lambda ending: f".{ending}".endswith(endings)):
            name = within(member.name)
            if name in self.files:
                raise DataError(
                    f"every file of {path} must have a name of its own; there are two {one_line(name)}: pack "
                    "it again"
                )
            self.files[name] = member.offset_data, member.size

    def check(self, name: str) -> None:
        """Do nothing: what can't be read was refused when the tar was gone through."""

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises
        ------
        OSError
            When the tar can't be read.
        ValueError
            When it has become shorter.
        """
        start, size = self.files[name]
        with self.path.open("rb") as file:
            file.seek(start)
            content = file.read(size)
        if len(content) != size:
            raise ValueError(f"the tar ends {size - len(content):,} bytes before it does")
        return content


def holds_folders(path: Path) -> bool:
    """Return whether a tar holds files in folders and no labels beside its first images.

    Raises
    ------
    DataError
        When it can't be read so far.
    """
    within = False
    for number, (key, ending, _) in enumerate(tar_members(path, lambda ending: False)):
        if ending in _LABELS:
            return False
        within |= "/" in key.removeprefix("./")
        if number + 1 == _LOOKED_AT:
            break
    return within
