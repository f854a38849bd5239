"""Named data sets, which are found in the data directory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.errors import DataError, is_refused
from pipeline.formats.whole import unreadable
from pipeline.sources.download import download as fetch
from pipeline.sources.image_folder import ImageFolder, splits_in
from pipeline.sources.protocol import Source


@dataclass(frozen=True)
class Remote:
    """A published file: its address, its path below the data directory, and its MD5."""

    url: str
    place: str
    md5: str


@dataclass(frozen=True)
class NamedSource(ABC):
    """A named data set.

    Its files are looked for in torchvision's layout below the data directory, then below the folder of its
    name there; an image folder of its name, ``<name>/<split>/<class>/...``, serves as well.
    """

    name: ClassVar[str]
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    published: ClassVar[str] = ""
    """Origin of files that ``--download`` can't download."""

    def open(self, split: str, data_dir: Path, download: bool = False) -> Source:
        """Read one split.

        Parameters
        ----------
        split
            One of ``splits``.
        data_dir
            The data directory.
        download
            Download the files if they are in none of the locations.

        Raises
        ------
        DataError
            When there is no such split, the files are nowhere, or one is damaged.
        """
        if split not in self.splits:
            raise DataError(f"the split of {self.name} must be one of {', '.join(self.splits)}; got {split}")
        found = self._find(split, data_dir)
        if found is None and split in splits_in(data_dir / self.name):
            return ImageFolder(data_dir / self.name, split)
        if found is None and download:
            for remote in self.remotes(split):
                if not (data_dir / remote.place).exists():
                    fetch(remote.url, data_dir / remote.place, remote.md5)
            found = self._find(split, data_dir)
        if found is None:
            locations = [str(place) for place in self.locations(split, data_dir)]
            remedy = f"get them from {self.published}" if self.published else "or give --download"
            raise DataError(
                f"the files of {self.name} ({split}) must be on disk; looked for {', '.join(locations)} and "
                f"{data_dir / self.name / split}/CLASS/IMAGE: put them there, {remedy}"
            )
        try:
            return self.read(split, found)
        except DataError:
            raise
        except Exception as error:  # Unpickling above all raises arbitrary exceptions on damage.
            if is_refused(error):
                file = Path(getattr(error, "filename", None) or found)
                raise unreadable(file, f"a file of {self.name}", error) from None
            raise DataError(
                f"{found} must hold the files of {self.name} ({split}) undamaged; reading them gave: "
                f"{error or type(error).__name__}: remove them and get them again"
            ) from None

    @abstractmethod
    def locations(self, split: str, data_dir: Path) -> Iterable[Path]:
        """Return the files or folders that may hold a split, the most likely first."""

    def remotes(self, split: str) -> Iterable[Remote]:
        """Return the published files that hold a split; empty if they are large or not freely available."""
        return ()

    @abstractmethod
    def read(self, split: str, path: Path) -> Source:
        """Read a split from one of ``locations``."""

    def _find(self, split: str, data_dir: Path) -> Path | None:
        return next((place for place in self.locations(split, data_dir) if place.exists()), None)
