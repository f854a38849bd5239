"""Named sources in the files in which they are published."""

from __future__ import annotations

import gzip
import pickle
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import CIFAR10_NAMES, noise, save, write_cifar10
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.sources import data_directory, open_source
from pipeline.sources.idx import read_idx
from pipeline.sources.matlab import read_matlab
from pipeline.sources.torchvision import FashionMnist

PACKAGE = Path("/usr/share/datasets/fashion-mnist")


def test_names_and_paths_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "cifar10" / "a" / "0.png")
    monkeypatch.chdir(tmp_path)
    assert len(open_source("./cifar10")) == 1
    message = r"must be one of cifar10, .*, svhn, an image folder, \.csv, \.npz, .* MODULE:NAME; got cifra"
    with pytest.raises(DataError, match=message):
        open_source("cifra")


def test_the_data_directory_is_the_environments_or_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BUDGETRAIN_DATA", str(tmp_path))
    assert data_directory() == tmp_path
    (tmp_path / "d").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BUDGETRAIN_DATA", "~/d")
    assert data_directory() == tmp_path / "d"
    for wrong in ("~/e", "~nobody-of-this-name/d", str(tmp_path / "nowhere")):
        monkeypatch.setenv("BUDGETRAIN_DATA", wrong)
        with pytest.raises(DataError, match=f"BUDGETRAIN_DATA must name a folder; got {wrong}"):
            data_directory()
    monkeypatch.setenv("BUDGETRAIN_DATA", "")
    assert data_directory() == Path("data")
    monkeypatch.delenv("BUDGETRAIN_DATA")
    assert data_directory() == Path("data")


@pytest.mark.skipif(not PACKAGE.exists(), reason=f"Fashion-MNIST is not at {PACKAGE}")
def test_fashion_mnist_comes_from_the_package_as_torchvision_reads_it(tmp_path: Path) -> None:
    from torchvision.datasets import FashionMNIST

    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in PACKAGE.glob("t10k*.gz"):
        (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    for part in ("images-idx3", "labels-idx1"):
        # Torchvision wants all four there, whatever the split.
        (raw / f"train-{part}-ubyte").touch()
    theirs = FashionMNIST(str(tmp_path), train=False)
    packaged = open_source("fashion_mnist", split="test", data_dir=tmp_path / "none")
    laid_out = open_source("fashion_mnist", split="test", data_dir=tmp_path)
    assert packaged.classes == tuple(theirs.classes)
    for ours in (packaged, laid_out):
        assert ours.labels.tolist() == theirs.targets.tolist()
        for index in (0, 77, 9_999):
            np.testing.assert_array_equal(ours.read(index), np.stack([theirs.data[index].numpy()] * 3, 2))
    assert packaged.origin == "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz"
    assert laid_out.origin == "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"


def test_idx_files_must_be_what_they_say(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(struct.pack(">HBBII", 0, 8, 2, 2, 3) + bytes(range(6)))
    assert read_idx(path).tolist() == [[0, 1, 2], [3, 4, 5]]
    for content, message in (
        (b"", "must start with 0, 0, 8"),
        (struct.pack(">HBBI", 0, 13, 1, 2) + bytes(8), "must start with 0, 0, 8"),
        (struct.pack(">HBBI", 0, 8, 1, 7) + bytes(6), r"shape \(7,\) asks for 7 bytes; got 6"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_idx(path)


def test_cifar10_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    import torchvision

    images, labels = write_cifar10(tmp_path / "cifar-10-batches-py")

    class Ours(torchvision.datasets.CIFAR10):  # type: ignore[misc]
        train_list = [[name, None] for name, _ in torchvision.datasets.CIFAR10.train_list]  # noqa: RUF012
        test_list = [["test_batch", None]]  # noqa: RUF012
        meta = {"filename": "batches.meta", "key": "label_names", "md5": None}  # noqa: RUF012

    for split, part in (("train", slice(25)), ("test", slice(25, 30))):
        source = open_source("cifar10", split=split, data_dir=tmp_path)
        theirs = Ours(str(tmp_path), train=split == "train")
        assert source.labels.tolist() == theirs.targets == labels[part]
        assert list(source.classes) == theirs.classes == CIFAR10_NAMES
        for index in range(len(source)):
            np.testing.assert_array_equal(source.read(index), theirs.data[index])
            np.testing.assert_array_equal(source.read(index), images[part][index].transpose(1, 2, 0))


@pytest.mark.parametrize("place", ["", "cifar10"])
def test_cifar10_is_read_from_its_tar(tmp_path: Path, place: str) -> None:
    _, labels = write_cifar10(tmp_path / "x" / "cifar-10-batches-py")
    (tmp_path / "data" / place).mkdir(parents=True)
    with tarfile.open(tmp_path / "data" / place / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "x" / "cifar-10-batches-py", "cifar-10-batches-py")
    source = open_source("cifar10", data_dir=tmp_path / "data")
    assert source.labels.tolist() == labels[:25]
    assert source.sample_name(3) == "train 3"


def test_cifar100_takes_its_fine_labels(tmp_path: Path) -> None:
    folder = tmp_path / "cifar100" / "cifar-100-python"
    folder.mkdir(parents=True)
    names = [f"thing {label:02}" for label in range(100)]
    batch = {"data": noise(0, 4, 3072), "fine_labels": [99, 0, 5, 7], "coarse_labels": [1, 2, 3, 4]}
    (folder / "train").write_bytes(pickle.dumps(batch, 4))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names, "coarse_label_names": []}))
    source = open_source("cifar100", data_dir=tmp_path)
    assert source.labels.tolist() == [99, 0, 5, 7]
    assert source.classes == tuple(names)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "harm",)  # type: ignore[return-value]

    folder = tmp_path / "cifar-10-batches-py"
    write_cifar10(folder)
    (folder / "data_batch_3").write_bytes(pickle.dumps({"data": Evil(), "labels": []}))
    with pytest.raises(
        DataError, match=r"must hold the files of cifar10 \(train\) undamaged; .* it asks for"
    ):
        open_source("cifar10", data_dir=tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Ran out of input"),
        (pickle.dumps([1, 2]), "must be a dictionary"),
        (pickle.dumps({"labels": [1]}), "'data'"),
        (pickle.dumps({"data": noise(0, 2, 3000), "labels": [1, 2]}), "must match exactly"),
        (
            pickle.dumps({"data": noise(0, 2, 3072), "labels": [1]}),
            "25 images and 24 labels|22 images and 21",
        ),
        (
            pickle.dumps({"data": noise(0, 1, 3072), "labels": [10]}),
            "one of its 10 classes.*; image 10 has 10: get the files again",
        ),
    ],
)
def test_a_damaged_batch_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_source("cifar10", data_dir=tmp_path)
    assert "cifar-10-batches-py" in str(caught.value)
    assert "get" in str(caught.value)


def matlab(arrays: dict[str, NDArray[Any]], order: str, compress: bool) -> bytes:
    """Write a MATLAB 5 file from the format's description."""

    def element(code: int, data: bytes) -> bytes:
        if len(data) <= 4:
            return struct.pack(f"{order}I4s", len(data) << 16 | code, data)
        return struct.pack(f"{order}II", code, len(data)) + data + bytes(-len(data) % 8)

    content = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x0100)
    content += b"IM" if order == "<" else b"MI"
    codes = {"uint8": (9, 2), "float64": (6, 9)}
    for name, array in arrays.items():
        kind, code = codes[str(array.dtype)]
        inner = element(6, struct.pack(f"{order}II", kind, 0))
        inner += element(5, struct.pack(f"{order}{array.ndim}i", *array.shape))
        inner += element(1, name.encode())
        inner += element(code, array.astype(array.dtype.newbyteorder(order)).tobytes(order="F"))  # type: ignore[arg-type]
        matrix = struct.pack(f"{order}II", 14, len(inner)) + inner
        if compress:
            packed = zlib.compress(matrix)
            matrix = struct.pack(f"{order}II", 15, len(packed)) + packed
        content += matrix
    return content


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compress", [True, False])
def test_matlab_files_are_read(tmp_path: Path, order: str, compress: bool) -> None:
    arrays = {"X": noise(0, 5, 4, 3, 7), "long_name": np.linspace(0, 1, 6).reshape(2, 3), "y": noise(1, 3, 1)}
    path = tmp_path / "x.mat"
    path.write_bytes(matlab(arrays, order, compress))  # type: ignore[arg-type]
    found = read_matlab(path)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_svhn_is_read_and_its_ten_is_zero(tmp_path: Path) -> None:
    images, labels = noise(0, 32, 32, 3, 6), np.array([[10], [1], [9], [10], [5], [2]], np.uint8)
    path = tmp_path / "svhn" / "train_32x32.mat"
    path.parent.mkdir()
    path.write_bytes(matlab({"X": images, "y": labels}, "<", True))
    source = open_source("svhn", data_dir=tmp_path)
    assert source.labels.tolist() == [0, 1, 9, 0, 5, 2]
    for index in range(6):
        np.testing.assert_array_equal(source.read(index), images[..., index])
    whole = path.read_bytes()
    for content in (b"MATLAB", whole[:300], whole[:-30], bytes(200)):
        path.write_bytes(content)
        with pytest.raises(
            DataError, match=r"train_32x32.mat must hold the files of svhn \(train\) undamaged"
        ):
            open_source("svhn", data_dir=tmp_path)


def test_an_image_folder_serves_for_a_name_and_published_files_go_first(tmp_path: Path) -> None:
    save(tmp_path / "cifar10" / "train" / "cat" / "0.png")
    save(tmp_path / "cifar10" / "test" / "cat" / "0.png")
    source = open_source("cifar10", split="test", data_dir=tmp_path)
    assert (source.name, source.split, source.origin) == ("cifar10", "test", "image folder cifar10/test")
    write_cifar10(tmp_path / "cifar-10-batches-py")
    assert open_source("cifar10", split="test", data_dir=tmp_path).origin == "cifar-10-batches-py (test)"


def test_fashion_mnist_without_the_package_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"FashionMNIST/raw/train-images-idx3-ubyte, .*/gone/.* or give --download"
    ):
        FashionMnist(package=tmp_path / "gone").open("train", tmp_path)
