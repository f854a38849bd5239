"""Arrays of NumPy's files: mapped, split, labeled, turned into RGB."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import noise
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.sources import ArraySource, open_source
from pipeline.sources.labels import numbered
from pipeline.sources.pixels import array_to_mode


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_arrays_are_mapped_and_not_loaded(tmp_path: Path, compress: bool, order: str) -> None:
    images = np.asarray(noise(0, 30, 9, 7, 3), order=order)  # type: ignore[call-overload]
    save_arrays = np.savez_compressed if compress else np.savez
    save_arrays(tmp_path / "x.npz", images=images, labels=np.arange(30) % 4)
    source = open_source(str(tmp_path / "x.npz"))
    assert isinstance(source, ArraySource)
    assert isinstance(source.images, np.memmap)
    assert source.labels.tolist() == [index % 4 for index in range(30)]
    assert source.classes == ("0", "1", "2", "3")
    assert source.name == "x"
    for index in range(30):
        np.testing.assert_array_equal(source.read(index), images[index])


def test_npz_splits_share_their_classes(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for names in (("{}_images", "{}_labels"), ("x_{}", "y_{}")):
        arrays = {}
        for seed, split in enumerate(("train", "test", "val")):
            arrays[names[0].format(split)] = noise(seed, 4, 5, 5)
            arrays[names[1].format(split)] = np.array([[0], [1], [2 + seed], [1]], np.uint8)
        np.savez(path, **arrays)  # type: ignore[arg-type]
        for seed, split in enumerate(("train", "test", "val")):
            source = open_source(str(path), split=split)
            assert source.classes == ("0", "1", "2", "3", "4")
            assert source.labels.tolist() == [0, 1, 2 + seed, 1]
            np.testing.assert_array_equal(source.read(2), np.stack([noise(seed, 4, 5, 5)[2]] * 3, 2))


def test_npz_labels_may_be_texts(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=noise(0, 3, 4, 4), labels=np.array(["dog", "cat", "dog"]))
    source = open_source(str(tmp_path / "x.npz"))
    assert (source.classes, source.labels.tolist()) == (("cat", "dog"), [1, 0, 1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"a": np.zeros(2)},
            "must hold arrays images and labels, or train_images and train_labels; it holds a",
        ),
        ({"images": noise(0, 2, 4, 4), "labels": np.zeros(3, int)}, "2 images and 3 labels"),
        ({"images": noise(0, 2, 4), "labels": np.zeros(2, int)}, r"\[n, h, w\].*; got shape \(2, 4\)"),
        ({"images": noise(0, 2, 4, 4), "labels": np.full(2, 0.5)}, "whole numbers or texts; image 0 has 0.5"),
        ({"images": noise(0, 2, 4, 4), "labels": np.array([0, -1])}, "numbered from 0; image 1 has -1"),
        ({"images": np.array([{}, 1], object), "labels": np.zeros(2, int)}, "array of Python objects"),
    ],
)
def test_npz_files_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, NDArray[Any]], message: str
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message) as caught:
        open_source(str(tmp_path / "x.npz"))
    assert "\n" not in str(caught.value)


def test_a_damaged_npz_is_refused_or_right(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for save_arrays in (np.savez, np.savez_compressed):
        save_arrays(path, images=noise(0, 8, 30, 30, 3), labels=np.arange(8))
        whole = path.read_bytes()
        for size in (0, 10, 100, len(whole) // 2, len(whole) - 5):
            path.write_bytes(whole[:size])
            with pytest.raises(DataError, match=r"x\.npz must be a whole \.npz file"):
                open_source(str(path))


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (np.array([[5, 6]], np.uint8), [[[5] * 3, [6] * 3]]),
        (np.array([[[5], [6]]], np.uint8), [[[5] * 3, [6] * 3]]),
        (np.array([[[5, 6]]], np.uint8), [[[5] * 3, [6] * 3]]),
        (np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8), [[[1, 2, 3], [4, 5, 6]]]),
        (np.array([[[1, 4]], [[2, 5]], [[3, 6]]], np.uint8), [[[1, 2, 3], [4, 5, 6]]]),
        (np.array([[[1, 2, 3, 255], [4, 5, 6, 0]]], np.uint8), [[[1, 2, 3], [255] * 3]]),
        (np.array([[0, 128, 257, 65_535]], np.uint16), [[[0] * 3, [0] * 3, [1] * 3, [255] * 3]]),
        (np.array([[0, 128, 257, 65_535]], ">u2"), [[[0] * 3, [0] * 3, [1] * 3, [255] * 3]]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [[[0] * 3, [128] * 3, [255] * 3]]),
        (np.array([[True, False]]), [[[255] * 3, [0] * 3]]),
    ],
)
def test_arrays_of_every_kind_become_rgb(array: NDArray[Any], wanted: list[Any]) -> None:
    image = array_to_mode(array)
    assert image.tolist() == wanted
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    image[:] = 0


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2, 2), np.uint8), r"1, 3 or 4 channels; got shape \(2, 2, 2\)"),
        (np.zeros(3, np.uint8), r"got shape \(3,\)"),
        (np.zeros((0, 4), np.uint8), r"got shape \(0, 4\)"),
        (np.zeros((2, 2), np.int64), "uint8, uint16, bool or floats in .*; got int64"),
        (np.full((2, 2), 2.0), r"must lie in \[0, 1\]; got 2.0 to 2.0"),
        (np.full((2, 2), np.nan), r"must lie in \[0, 1\]; got nan"),
    ],
)
def test_arrays_without_an_agreed_meaning_are_refused(array: NDArray[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        array_to_mode(array)


def test_labels_are_numbers_or_texts_within_their_classes() -> None:
    found = numbered(["b", "a"], "x", ["a", "b", "c"])
    assert (found.labels.tolist(), found.classes) == ([1, 0], ("a", "b", "c"))
    assert numbered([0, 1], "x", others=[4]).classes == ("0", "1", "2", "3", "4")
    for found, names, message in (  # type: ignore[assignment]
        (["d"], ["a"], "one of its 1 classes; got 'd' for image 0"),
        ([3], ["a"], "one of its 1 classes, numbered from 0; image 0 has 3"),
        ([1 << 40], None, "counted from 0; the largest is 1,099,511,627,776 and 1 different ones occur"),
        ([None], None, "every image of x must have a label; image 0 has none"),
    ):
        with pytest.raises(DataError, match=message):
            numbered(found, "x", names)  # type: ignore[arg-type]


def test_a_zip_that_is_none_of_numpys_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("images.npy", b"no array")
        archive.writestr("labels.npy", b"no array")
    with pytest.raises(DataError, match=r"must be a whole \.npz file"):
        open_source(str(tmp_path / "x.npz"))
