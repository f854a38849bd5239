"""Data sets that torchvision knows by name, read from its files where they already are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from pipeline.errors import DataError
from pipeline.sources.arrays import ArraySource
from pipeline.sources.download import download as fetch
from pipeline.sources.idx import read_idx
from pipeline.sources.image_folder import ImageFolder, splits_in
from pipeline.sources.matlab import read_matlab
from pipeline.sources.pickles import images_of, read_batches
from pipeline.sources.protocol import Source


@dataclass(frozen=True)
class Remote:
    """A published file: where it is, where it belongs below the data directory, and its MD5."""

    url: str
    place: str
    md5: str


@dataclass(frozen=True)
class NamedSource(ABC):
    """A data set with a name of its own.

    Its files are looked for in torchvision's layout below the data directory, then below the folder of its
    name there; an image folder of its name, ``<name>/<split>/<class>/...``, serves as well.
    """

    name: ClassVar[str]
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    def open(self, split: str, data_dir: Path, download: bool = False) -> Source:
        """Read one split.

        Parameters
        ----------
        split
            One of ``splits``.
        data_dir
            The data directory.
        download
            Fetch the files where they are in no place that is looked at.

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
            places = [str(place) for place in self.places(split, data_dir)]
            raise DataError(
                f"the files of {self.name} ({split}) must be on disk; looked for {', '.join(places)} and "
                f"{data_dir / self.name / split}/CLASS/IMAGE: put them there, or give --download"
            )
        try:
            return self.read(split, found)
        except DataError:
            raise
        except Exception as error:  # Unpickling above all raises whatever the damage leads it to.
            raise DataError(
                f"{found} must hold the files of {self.name} ({split}) undamaged; reading them gave: "
                f"{error or type(error).__name__}: remove them and get them again"
            ) from None

    @abstractmethod
    def places(self, split: str, data_dir: Path) -> Iterable[Path]:
        """Give the files or folders that may hold a split, the likeliest first."""

    @abstractmethod
    def remotes(self, split: str) -> Iterable[Remote]:
        """Give the published files that hold a split."""

    @abstractmethod
    def read(self, split: str, path: Path) -> ArraySource:
        """Read a split from one of ``places``."""

    def _find(self, split: str, data_dir: Path) -> Path | None:
        return next((place for place in self.places(split, data_dir) if place.exists()), None)


@dataclass(frozen=True)
class Cifar10(NamedSource):
    """CIFAR-10: 50,000 + 10,000 colour images, 32x32, of 10 things and animals."""

    mirror: str = "https://www.cs.toronto.edu/~kriz"
    """Where the files are downloaded from."""

    name = "cifar10"
    _folder: ClassVar[str] = "cifar-10-batches-py"
    _tar: ClassVar[str] = "cifar-10-python.tar.gz"
    _md5: ClassVar[str] = "c58f30108f718f92721af3b95e74349a"
    _meta: ClassVar[tuple[str, str]] = ("batches.meta", "label_names")
    _labels: ClassVar[str] = "labels"
    _batches: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
        "test": ("test_batch",),
    }

    def places(self, split: str, data_dir: Path) -> Iterable[Path]:
        """Give the extracted folder and the tar, each in both places."""
        for root in (data_dir, data_dir / self.name):
            yield root / self._folder
            yield root / self._tar

    def remotes(self, split: str) -> Iterable[Remote]:
        """Give the one tar."""
        return [Remote(f"{self.mirror}/{self._tar}", self._tar, self._md5)]

    def read(self, split: str, path: Path) -> ArraySource:
        """Read the pickled batches."""
        meta_file, names_key = self._meta
        meta, *batches = read_batches(path, self._folder, (meta_file, *self._batches[split]))
        return ArraySource(
            name=self.name,
            split=split,
            origin=f"{self._folder} ({split})",
            classes=tuple(str(name) for name in meta[names_key]),
            labels=np.concatenate([np.asarray(batch[self._labels], np.int64) for batch in batches]),
            images=images_of(batches),
        )


@dataclass(frozen=True)
class Cifar100(Cifar10):
    """CIFAR-100: 50,000 + 10,000 colour images, 32x32, of 100 things and animals."""

    name = "cifar100"
    _folder = "cifar-100-python"
    _tar = "cifar-100-python.tar.gz"
    _md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    _meta = ("meta", "fine_label_names")
    _labels = "fine_labels"
    _batches: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("train",), "test": ("test",)}


@dataclass(frozen=True)
class Svhn(NamedSource):
    """SVHN: 73,257 + 26,032 colour images, 32x32, of house-number digits; split extra holds 531,131 more."""

    mirror: str = "http://ufldl.stanford.edu/housenumbers"
    """Where the files are downloaded from."""

    name = "svhn"
    splits = ("train", "test", "extra")
    _md5: ClassVar[dict[str, str]] = {
        "train": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test": "eb5a983be6a315427106f1b164d9cef3",
        "extra": "a93ce644f1a588dc4d68dda5feec44a7",
    }

    def places(self, split: str, data_dir: Path) -> Iterable[Path]:
        """Give the MATLAB file of the split in both places."""
        return [root / f"{split}_32x32.mat" for root in (data_dir, data_dir / self.name)]

    def remotes(self, split: str) -> Iterable[Remote]:
        """Give the MATLAB file of the split."""
        file = f"{split}_32x32.mat"
        return [Remote(f"{self.mirror}/{file}", file, self._md5[split])]

    def read(self, split: str, path: Path) -> ArraySource:
        """Read X, uint8[32, 32, 3, n], and y, in which 10 stands for the digit 0."""
        arrays = read_matlab(path)
        labels = arrays["y"].astype(np.int64).ravel()
        labels[labels == 10] = 0
        return ArraySource(
            name=self.name,
            split=split,
            origin=path.name,
            classes=tuple("0123456789"),
            labels=labels,
            images=np.ascontiguousarray(arrays["X"].transpose(3, 0, 1, 2).astype(np.uint8)),
        )


@dataclass(frozen=True)
class FashionMnist(NamedSource):
    """Fashion-MNIST: 60,000 + 10,000 grey images, 28x28, of 10 kinds of clothing."""

    package: Path = Path("/usr/share/datasets/fashion-mnist")
    """Folder of Debian's package dataset-fashion-mnist, looked at last."""
    mirror: str = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
    """Where the files are downloaded from."""

    name = "fashion_mnist"
    _parts: ClassVar[dict[str, str]] = {"train": "train", "test": "t10k"}
    _md5: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }

    def places(self, split: str, data_dir: Path) -> Iterable[Path]:
        """Give the file of images, plain or gzipped: torchvision's place, ours, then the package's."""
        folders = [root / "FashionMNIST" / "raw" for root in (data_dir, data_dir / self.name)]
        for folder in (*folders, data_dir / self.name, self.package):
            for ending in ("", ".gz"):
                yield folder / f"{self._parts[split]}-images-idx3-ubyte{ending}"

    def remotes(self, split: str) -> Iterable[Remote]:
        """Give the two gzipped files of the split."""
        return [
            Remote(f"{self.mirror}/{file}", f"FashionMNIST/raw/{file}", md5)
            for file, md5 in self._md5.items()
            if file.startswith(self._parts[split])
        ]

    def read(self, split: str, path: Path) -> ArraySource:
        """Read images and, from beside them, labels."""
        labels = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
        return ArraySource(
            name=self.name,
            split=split,
            origin=f"{path.name} and {labels.name}",
            classes=(
                "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
            ),
            labels=read_idx(labels).astype(np.int64),
            images=read_idx(path),
        )  # fmt: skip
