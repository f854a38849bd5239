"""Sources: any image file to RGB, folders, and the files in which the named data sets are published."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import threading
import zlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import CorruptSampleError, DataError
from pipeline.sources import SOURCES, ArraySource, ImageFolder, data_directory, open_source
from pipeline.sources.download import download
from pipeline.sources.holdout import hold_out
from pipeline.sources.idx import read_idx
from pipeline.sources.matlab import read_matlab
from pipeline.sources.pixels import decode, is_plain_jpeg
from pipeline.sources.torchvision import Cifar10, FashionMnist

PACKAGE = Path("/usr/share/datasets/fashion-mnist")


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


# ------------------------------------------------------------------------------------------- pixels


def test_grey_becomes_three_equal_channels() -> None:
    grey = noise(0, 5, 7)
    np.testing.assert_array_equal(decode(file_of(Image.fromarray(grey))), np.stack([grey] * 3, 2))


def test_black_and_white_become_0_and_255() -> None:
    bits = noise(0, 5, 9) > 127
    image = decode(file_of(Image.fromarray(bits)))
    np.testing.assert_array_equal(image, np.stack([bits * 255] * 3, 2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_to_8(kind: str) -> None:
    grey = np.array([[0, 128, 257, 32_896, 65_535]], np.uint16)
    image = decode(file_of(Image.fromarray(grey), kind))
    assert image[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert image.shape == (1, 5, 3)


def test_a_pgm_is_scaled_by_the_white_that_it_names() -> None:
    image = decode(io.BytesIO(b"P5\n3 1\n1023\n" + np.array([0, 512, 1023], ">u2").tobytes()))
    assert image[0].tolist() == [[0] * 3, [128] * 3, [255] * 3]


def test_transparent_pixels_are_laid_over_white() -> None:
    pixels = noise(0, 4, 4, 4)
    pixels[:2, :, 3] = [[0], [255]]
    image = decode(file_of(Image.fromarray(pixels)))
    np.testing.assert_array_equal(image[0], 255)
    np.testing.assert_array_equal(image[1], pixels[1, :, :3])
    alpha = pixels[2:, :, 3:] / 255
    np.testing.assert_allclose(image[2:], pixels[2:, :, :3] * alpha + 255 * (1 - alpha), atol=1)


def test_grey_with_transparency_is_laid_over_white() -> None:
    image = decode(file_of(Image.fromarray(np.array([[[10, 0], [10, 255]]], np.uint8), "LA")))
    assert image.tolist() == [[[255] * 3, [10] * 3]]


def test_palettes_become_their_colours_and_a_transparent_entry_white() -> None:
    palette = Image.new("P", (3, 1))
    palette.putpalette([10, 20, 30, 200, 100, 0, 7, 7, 7])
    palette.putdata([1, 0, 2])
    assert decode(file_of(palette)).tolist() == [[[200, 100, 0], [10, 20, 30], [7, 7, 7]]]
    assert decode(file_of(palette, transparency=0)).tolist() == [[[200, 100, 0], [255, 255, 255], [7, 7, 7]]]


def test_cmyk_becomes_rgb() -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 0] = 255
    image = decode(file_of(Image.fromarray(inks, "CMYK"), "JPEG", quality=100))
    np.testing.assert_allclose(image, np.broadcast_to([0, 255, 255], (16, 16, 3)), atol=3)
    assert not is_plain_jpeg(file_of(Image.fromarray(inks, "CMYK"), "JPEG"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24] = [255, 0, 0]
    upright[:16, 24:] = [0, 255, 0]
    upright[16:, :24] = [0, 0, 255]
    stored = {
        1: upright,
        2: np.fliplr(upright),
        3: np.rot90(upright, 2),
        4: np.flipud(upright),
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = file_of(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    np.testing.assert_array_equal(decode(file), upright)
    jpeg = file_of(Image.fromarray(np.ascontiguousarray(stored)), "JPEG", exif=exif)
    assert is_plain_jpeg(jpeg) == (orientation == 1)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0nothing of the kind", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_damaged_exif_data_do_not_stop_an_image(exif: bytes) -> None:
    image = Image.fromarray(noise(0, 16, 16, 3))
    file = file_of(image, "JPEG", exif=exif)
    assert is_plain_jpeg(file)
    assert decode(file).shape == (16, 16, 3)


def test_the_first_of_several_frames_is_taken() -> None:
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (0, 255)]
    np.testing.assert_array_equal(
        decode(file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])), 0
    )


def test_a_phones_double_jpeg_is_read_and_encoded_anew() -> None:
    frames = [Image.fromarray(np.full((16, 16, 3), value, np.uint8)) for value in (10, 200)]
    file = file_of(frames[0], "MPO", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decode(file), 10, atol=2)
    assert not is_plain_jpeg(file)


def test_only_image_files_are_opened_whatever_their_ending() -> None:
    with pytest.raises(ValueError, match="it is none of BMP, GIF, JPEG"):
        decode(file_of(Image.fromarray(noise(0, 4, 4, 3)), "EPS"))


def test_pixels_without_an_agreed_range_are_refused() -> None:
    with pytest.raises(ValueError, match="8 or 16 bits; these have mode F"):
        decode(file_of(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))


# ------------------------------------------------------------------------------------------ folders


def save(path: Path, seed: int = 0, shape: tuple[int, ...] = (8, 8, 3)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, *shape)).save(path)
    return path


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("b/2.png", "b/10.png", "a/x/1.PNG", "a/b.png", "c/d.bmp", "a/.hidden.png")
    ):
        save(tmp_path / "set" / name, number)
    (tmp_path / "set" / ".cache").mkdir()
    (tmp_path / "set" / "a" / "readme.txt").touch()
    source = ImageFolder(tmp_path / "set")
    names = [source.sample_name(index) for index in range(len(source))]
    assert names == ["a/b.png", "a/x/1.PNG", "b/10.png", "b/2.png", "c/d.bmp"]
    assert source.classes == ("a", "b", "c")
    assert source.labels.tolist() == [0, 0, 1, 1, 2]
    assert (source.name, source.split, source.origin) == ("set", "train", "image folder set")
    assert source.notes == (
        "1 files that are no images by their endings are left out (.txt)",
        "2 files and folders that are hidden or other programs' own are left out (.cache, .hidden.png)",
    )
    np.testing.assert_array_equal(source.read(2), noise(1, 8, 8, 3))


def test_splits_number_the_classes_alike(tmp_path: Path) -> None:
    save(tmp_path / "train" / "ant" / "0.png", 1)
    save(tmp_path / "train" / "cat" / "0.png", 2)
    save(tmp_path / "test" / "cat" / "0.png", 3)
    save(tmp_path / "test" / "dog" / "0.png", 4)
    train, test = ImageFolder(tmp_path), ImageFolder(tmp_path, "test")
    assert train.classes == test.classes == ("ant", "cat", "dog")
    assert train.labels.tolist() == [0, 1]
    assert test.labels.tolist() == [1, 2]
    assert test.origin == f"image folder {tmp_path.name}/test"
    assert train.notes == ("1 of the 3 classes has no images: 'dog'",)
    with pytest.raises(DataError, match=r"split must be one that .* holds: train, test; got val"):
        ImageFolder(tmp_path, "val")


def test_a_split_named_directly_knows_its_name(tmp_path: Path) -> None:
    save(tmp_path / "pets" / "test" / "cat" / "0.png")
    save(tmp_path / "pets" / "test" / "dog" / "0.png")
    source = ImageFolder(tmp_path / "pets" / "test")
    assert (source.name, source.split) == ("pets", "test")
    assert ImageFolder(tmp_path / "pets" / "test", "test").notes == ()


def test_a_split_of_a_folder_without_any_is_told(tmp_path: Path) -> None:
    save(tmp_path / "pets" / "cat" / "0.png")
    save(tmp_path / "pets" / "dog" / "0.png")
    assert ImageFolder(tmp_path / "pets").notes == ()
    (note,) = ImageFolder(tmp_path / "pets", "test").notes
    assert "holds no split folders (train, test, val): all 2 images of it are taken as its test split" in note
    assert "--validation" in note


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    save(tmp_path / "bus" / "0.png")
    save(tmp_path / "train" / "0.png")
    source = ImageFolder(tmp_path)
    assert source.classes == ("bus", "train")
    assert len(source) == 2


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    save(tmp_path / "outside.png")
    with pytest.raises(DataError, match="1 folders and no images in them"):
        ImageFolder(tmp_path)
    with pytest.raises(DataError, match="must be a folder; got"):
        ImageFolder(tmp_path / "outside.png")


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "tiff", "webp", "bmp"])
def test_a_damaged_image_is_named(tmp_path: Path, ending: str) -> None:
    path = save(tmp_path / "a" / f"x.{ending}", 0, (64, 64, 3))
    content = path.read_bytes()
    for damaged in (b"", content[:5], content[: len(content) // 2], b"no image at all"):
        path.write_bytes(damaged)
        with pytest.raises(
            CorruptSampleError, match=f"x.{ending} must be a whole image file; it can't be decoded"
        ) as e:
            ImageFolder(tmp_path).read(0)
        assert "\n" not in str(e.value)


def test_jpegs_are_given_as_they_are_only_where_nothing_is_to_be_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(noise(0, 16, 24, 3))
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "a" / "0.jpg")
    image.save(tmp_path / "a" / "1.jpeg", exif=exif)
    image.convert("L").save(tmp_path / "a" / "2.JPG")
    image.convert("CMYK").save(tmp_path / "a" / "3.jpg")
    image.save(tmp_path / "a" / "4.png")
    image.save(tmp_path / "a" / "5.jpg", format="PNG")
    source = ImageFolder(tmp_path)
    given = [source.encoded(index) for index in range(6)]
    assert [content is not None for content in given] == [True, False, True, False, False, False]
    assert given[0] == (tmp_path / "a" / "0.jpg").read_bytes()
    assert source.read(1).shape == (24, 16, 3)
    np.testing.assert_array_equal(source.read(5), noise(0, 16, 24, 3))
    (tmp_path / "a" / "0.jpg").write_bytes(b"\xff\xd8 no more")
    with pytest.raises(CorruptSampleError, match=r"a/0\.jpg must be a whole image file"):
        source.encoded(0)


# -------------------------------------------------------------------------------------- named sources


def test_names_and_paths_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "cifar10" / "a" / "0.png")
    monkeypatch.chdir(tmp_path)
    assert len(open_source("./cifar10")) == 1
    message = r"must be one of cifar10, .*, svhn, an image folder, \.npz, .* MODULE:NAME; got cifra"
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


CIFAR10_NAMES = [f"thing {label}" for label in range(10)]


def write_cifar10(folder: Path, protocol: int = 2) -> tuple[NDArray[np.uint8], list[int]]:
    """Lay out 25 images as CIFAR-10's pickles; give the training images (channels first) and labels."""
    folder.mkdir(parents=True)
    images, labels = noise(0, 30, 3072), np.random.default_rng(1).integers(0, 10, 30).tolist()
    parts = {f"data_batch_{i}": slice(5 * (i - 1), 5 * i) for i in range(1, 6)} | {
        "test_batch": slice(25, 30)
    }
    for name, part in parts.items():
        batch = {"data": images[part], "labels": labels[part], "batch_label": name}
        (folder / name).write_bytes(pickle.dumps(batch, protocol))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": CIFAR10_NAMES}, protocol))
    return images.reshape(-1, 3, 32, 32), labels


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
        inner += element(code, array.astype(array.dtype.newbyteorder(order)).tobytes(order="F"))
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
    path.write_bytes(matlab(arrays, order, compress))
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


# ------------------------------------------------------------------------------------------ downloads


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server on this machine, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", folder
        http.shutdown()
        thread.join()


def test_a_download_arrives_whole_or_not_at_all(tmp_path: Path, server: tuple[str, Path]) -> None:
    url, folder = server
    content = noise(0, 3_000_000).tobytes()
    (folder / "x").write_bytes(content)
    target = tmp_path / "data" / "x"
    with pytest.raises(DataError, match=f"{url}/x must have the MD5 0+; got [0-9a-f]+: try again, or put"):
        download(f"{url}/x", target, "0" * 32)
    with pytest.raises(DataError, match="must be reachable to be downloaded; got HTTP Error 404"):
        download(f"{url}/y", target, "0" * 32)
    assert list(target.parent.iterdir()) == []
    download(f"{url}/x", target, hashlib.md5(content).hexdigest())
    assert target.read_bytes() == content
    assert list(target.parent.iterdir()) == [target]


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be reachable to be downloaded; got .*refused"):
        download("http://127.0.0.1:1/x", tmp_path / "x", "")


def test_a_server_that_hangs_up_is_one_line(tmp_path: Path) -> None:
    class HangsUp(Quiet):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"10\r\n0123")
            self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), HangsUp) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        with pytest.raises(DataError, match=r"reachable to be downloaded; got IncompleteRead\(.*: try"):
            download(f"http://127.0.0.1:{http.server_port}/x", tmp_path / "x", "")
        http.shutdown()
        thread.join()
    assert list(tmp_path.iterdir()) == []


def test_a_named_source_is_downloaded_only_when_asked_and_only_once(
    tmp_path: Path, server: tuple[str, Path]
) -> None:
    url, folder = server
    write_cifar10(tmp_path / "x" / "cifar-10-batches-py")
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "x" / "cifar-10-batches-py", "cifar-10-batches-py")
    md5 = hashlib.md5((folder / "cifar-10-python.tar.gz").read_bytes()).hexdigest()

    class Local(Cifar10):
        _md5 = md5

    data_dir = tmp_path / "data"
    with pytest.raises(DataError, match="put them there, or give --download"):
        Local(mirror=url).open("train", data_dir)
    assert not data_dir.exists()
    assert len(Local(mirror=url).open("train", data_dir, download=True)) == 25
    (folder / "cifar-10-python.tar.gz").unlink()
    assert len(Local(mirror=url).open("test", data_dir, download=True)) == 5


def test_the_published_addresses_are_torchvisions() -> None:
    from torchvision import datasets

    def remote(name: str, split: str = "train") -> list[tuple[str, str, str]]:
        return [(file.url, file.place, file.md5) for file in SOURCES[name]().remotes(split)]

    for name, theirs in (("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)):
        assert remote(name) == [(theirs.url, theirs.filename, theirs.tgz_md5)]
    for split, (url, file, md5) in datasets.SVHN.split_list.items():
        assert remote("svhn", split) == [(url, file, md5)]
    mirror = datasets.FashionMNIST.mirrors[0]
    files = remote("fashion_mnist") + remote("fashion_mnist", "test")
    wanted = [
        (mirror + name, f"FashionMNIST/raw/{name}", md5) for name, md5 in datasets.FashionMNIST.resources
    ]
    assert files == wanted


def test_fashion_mnist_without_the_package_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"FashionMNIST/raw/train-images-idx3-ubyte, .*/gone/.* or give --download"
    ):
        FashionMnist(package=tmp_path / "gone").open("train", tmp_path)


# ------------------------------------------------------------------------------- arrays and holding out


def test_arrays_must_fit_their_labels() -> None:
    labels = np.array([0, 1, 2])
    with pytest.raises(DataError, match="2 images and 3 labels"):
        ArraySource("x", "train", "x", ("a", "b", "c"), labels, noise(0, 2, 4, 4))
    with pytest.raises(DataError, match="one of its 2 classes, numbered from 0; image 2 has 2"):
        ArraySource("x", "train", "x", ("a", "b"), labels, noise(0, 3, 4, 4))


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 0.99])
def test_holding_out_takes_its_share_of_every_class(fraction: float) -> None:
    sizes = [1, 2, 3, 10, 1000]
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(5), sizes))
    held = hold_out(labels, fraction, seed=3)
    taken = np.bincount(labels[held], minlength=5)
    assert taken[0] == 0
    for size, count in zip(sizes[1:], taken[1:], strict=True):
        assert 1 <= count <= size - 1
        assert abs(count - size * fraction) <= 1
    np.testing.assert_array_equal(held, hold_out(labels, fraction, seed=3))


def test_holding_out_is_random_and_seeded() -> None:
    labels = np.zeros(400, np.int64)
    one, other = hold_out(labels, 0.5, 0), hold_out(labels, 0.5, 1)
    assert 140 < (one == other).sum() < 260
    # Every sample has the same chance; 6 standard deviations are p = 1e-6 for the largest of 400.
    counts = sum(hold_out(labels, 0.25, seed).astype(int) for seed in range(200))
    assert np.abs(counts - 50).max() < 6 * np.sqrt(200 * 0.25 * 0.75)
