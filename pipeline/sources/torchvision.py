"""Small data sets that torchvision knows by name, read from its files where they already are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from pipeline.sources.arrays import ArraySource
from pipeline.sources.idx import read_idx
from pipeline.sources.matlab import read_matlab
from pipeline.sources.named import NamedSource, Remote
from pipeline.sources.pickles import images_of, read_batches


@dataclass(frozen=True)
class Cifar10(NamedSource):
    """CIFAR-10: 50,000 + 10,000 color images, 32x32, of 10 things and animals."""

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

    def locations(self, split: str, data_dir: Path) -> Iterable[Path]:
        """Return the extracted folder and the tar, each in both layouts."""
        for root in (data_dir, data_dir / self.name):
            yield root / self._folder
            yield root / self._tar

    def remotes(self, split: str) -> Iterable[Remote]:
        """Return the tar."""
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
    """CIFAR-100: 50,000 + 10,000 color images, 32x32, of 100 things and animals."""

    name = "cifar100"
    _folder = "cifar-100-python"
    _tar = "cifar-100-python.tar.gz"
    _md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    _meta = ("meta", "fine_label_names")
    _labels = "fine_labels"
    _batches: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("train",), "test": ("test",)}


@dataclass(frozen=True)
class Svhn(NamedSource):
    """SVHN: 73,257 + 26,032 color images, 32x32, of house-number digits; split extra holds 531,131 more."""

    mirror: str = "http://ufldl.stanford.edu/housenumbers"
    """Where the files are downloaded from."""

    name = "svhn"
    splits = ("train", "test", "extra")
    _md5: ClassVar[dict[str, str]] = {
        "train": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test": "eb5a983be6a315427106f1b164d9cef3",
        "extra": "a93ce644f1a588dc4d68dda5feec44a7",
    }

    def locations(self, split: str, data_dir: Path) -> Iterable[Path]:
        """Return the MATLAB file of the split in both layouts."""
        return [root / f"{split}_32x32.mat" for root in (data_dir, data_dir / self.name)]

    def remotes(self, split: str) -> Iterable[Remote]:
        """Return the MATLAB file of the split."""
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
    """Fashion-MNIST: 60,000 + 10,000 gray images, 28x28, of 10 kinds of clothing."""

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

    def locations(self, split: str, data_dir: Path) -> Iterable[Path]:
        """Return the file of images, plain or gzipped: in torchvision's layout, ours, then the package's."""
        folders = [root / "FashionMNIST" / "raw" for root in (data_dir, data_dir / self.name)]
        for folder in (*folders, data_dir / self.name, self.package):
            for ending in ("", ".gz"):
                yield folder / f"{self._parts[split]}-images-idx3-ubyte{ending}"

    def remotes(self, split: str) -> Iterable[Remote]:
        """Return the two gzipped files of the split."""
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
