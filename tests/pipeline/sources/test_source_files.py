"""Sources that are files of other programs' making, and Python objects: compared with those programs."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import webdataset
from numpy.typing import NDArray
from PIL import Image
from torchvision import datasets

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import open_dataset
from pipeline.sources import ArraySource, ImageFolder, Source, open_source
from pipeline.sources.labels import numbered
from pipeline.sources.parquet import ParquetSource
from pipeline.sources.pixels import array_to_rgb
from pipeline.sources.python_object import ObjectSource
from pipeline.sources.shards import find_shards, name_of


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(seed: int, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(seed, 12, 16, 3)).save(file, kind, **options)
    return file.getvalue()


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, 12, 16, 3)).save(path)


def same(source: Source, theirs: Any, names: Callable[[Any], str] = str) -> None:
    """Compare a source with a data set of torchvision's, in its own order."""
    assert len(source) == len(theirs) > 0
    ours = {source.read(index).tobytes(): int(source.labels[index]) for index in range(len(source))}
    for index in range(len(theirs)):
        image, label = theirs[index]
        assert ours.pop(np.asarray(image).tobytes()) == label
    assert list(source.classes) == [names(name) for name in theirs.classes]


# -------------------------------------------------------------------------------------- torchvision's layouts


def test_imagenette_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    wnids = list(datasets.Imagenette._WNID_TO_CLASS)
    for number in range(20):
        for split in ("train", "val"):
            save(tmp_path / "imagenette2" / split / wnids[number % 10] / f"{split}_{number}.JPEG", number)
    for split, part in (("train", "train"), ("test", "val"), ("val", "val")):
        source = open_source("imagenette", split=split, data_dir=tmp_path)
        assert source.split == split
        same(source, datasets.Imagenette(str(tmp_path), part), lambda names: names[0])
    assert source.origin == "imagenette2/val"


def test_imagenet_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    root = tmp_path / "imagenet"
    for number in range(12):
        for split in ("train", "val"):
            save(root / split / ("n01", "n02", "n03")[number % 3] / f"{split}_{number}.JPEG", number)
    assert open_source("imagenet", data_dir=tmp_path).classes == ("n01", "n02", "n03")
    torch.save(
        ({"n03": ("tench", "Tinca tinca"), "n01": ("crane",), "n02": ("crane",)}, []), root / "meta.bin"
    )
    source = open_source("imagenet", split="test", data_dir=tmp_path)
    assert source.classes == ("crane (n01)", "crane (n02)", "tench")
    theirs = datasets.ImageNet(str(root), "val")
    theirs.classes = source.classes
    same(source, theirs)


def test_food101_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    root = tmp_path / "food101" / "food-101"
    (root / "meta").mkdir(parents=True)
    for seed, split in enumerate(("train", "test")):
        listed = {
            dish: [f"{dish}/{seed}{number}" for number in range(5)] for dish in ("waffles", "apple_pie")
        }
        (root / "meta" / f"{split}.json").write_text(json.dumps(listed))
        for number, name in enumerate(name for names in listed.values() for name in names):
            save(root / "images" / f"{name}.jpg", 100 * seed + number)
    for split in ("train", "test"):
        same(
            open_source("food101", split=split, data_dir=tmp_path), datasets.Food101(str(root.parent), split)
        )


@pytest.mark.parametrize("small", [False, True])
def test_places365_is_read_as_torchvision_reads_it(tmp_path: Path, small: bool) -> None:
    class Unchecked(datasets.Places365):  # type: ignore[misc]
        def _check_integrity(self, file: str, md5: str, download: bool) -> bool:
            return True

    root, scenes, size = tmp_path, ("/a/abbey", "/b/bakery/shop"), "256" if small else "large"
    (root / "categories_places365.txt").write_text("".join(f"{one} {i}\n" for i, one in enumerate(scenes)))
    for part, folder in (("train_standard", "data_{}_standard"), ("train_challenge", "data_{}_challenge")):
        rows = [f"{scenes[number % 2]}/{number:08}.jpg {number % 2}" for number in range(8)]
        (root / f"places365_{part}.txt").write_text("\n".join(rows))
        for number, row in enumerate(rows):
            save(root / folder.format(size) / row.split()[0][1:], number + 100 * len(part))
    rows = [f"Places365_val_{number:08}.jpg {number // 3}" for number in range(6)]
    (root / "places365_val.txt").write_text("\n".join(rows))
    for number, row in enumerate(rows):
        save(root / f"val_{size}" / row.split()[0], number)
    for split, part in (("train", "train-standard"), ("challenge", "train-challenge"), ("test", "val")):
        source = open_source("places365", split=split, data_dir=tmp_path)
        same(source, Unchecked(str(root), part, small), lambda name: name[3:])


def test_mini_imagenet_is_put_together_permuted_and_cut(tmp_path: Path) -> None:
    root = tmp_path / "mini_imagenet"
    (root / "images").mkdir(parents=True)
    listed: list[tuple[str, str]] = []
    for part, (name, classes) in enumerate((("train", 4), ("val", 1), ("test", 2))):
        rows = [
            (f"{part}{label}{number}.jpg", f"n{9 - part}{label}")
            for label in range(classes)
            for number in range(6)
        ]
        with (root / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("filename", "label"), *rows])
        listed += rows
    for number, (filename, _) in enumerate(listed):
        save(root / "images" / filename, number)
    np.random.seed(42)  # noqa: NPY002
    order = np.random.permutation(42)  # noqa: NPY002
    names = sorted({label for _, label in listed})
    train, test = (
        open_source("mini_imagenet", split=split, data_dir=tmp_path) for split in ("train", "test")
    )
    assert (len(train), len(test)) == (35, 7)
    assert train.classes == test.classes == tuple(names)
    for place, number in enumerate(order):
        source, index = (train, place) if place < 35 else (test, place - 35)
        assert source.sample_name(index) == listed[number][0]
        assert names[source.labels[index]] == listed[number][1]
    by_class = tmp_path / "other" / "miniimagenet"
    for filename, label in listed:
        path = by_class / "images" / label / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((root / "images" / filename).read_bytes())
    for name in ("train.csv", "val.csv", "test.csv"):
        (by_class / name).write_bytes((root / name).read_bytes())
    again = open_source("mini_imagenet", data_dir=tmp_path / "other")
    np.testing.assert_array_equal(again.read(3), train.read(3))


# ----------------------------------------------------------------------------------------------------- arrays


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
        np.savez(path, **arrays)
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
    np.savez(tmp_path / "x.npz", **arrays)
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
        (np.array([[0.0, 0.5, 1.0]], np.float32), [[[0] * 3, [128] * 3, [255] * 3]]),
        (np.array([[True, False]]), [[[255] * 3, [0] * 3]]),
    ],
)
def test_arrays_of_every_kind_become_rgb(array: NDArray[Any], wanted: list[Any]) -> None:
    image = array_to_rgb(array)
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
        array_to_rgb(array)


def test_labels_are_numbers_or_texts_within_their_classes() -> None:
    found = numbered(["b", "a"], "x", ["a", "b", "c"])
    assert (found.labels.tolist(), found.classes) == ([1, 0], ("a", "b", "c"))
    assert numbered([0, 1], "x", others=[4]).classes == ("0", "1", "2", "3", "4")
    for found, names, message in (
        (["d"], ["a"], "one of its 1 classes; got 'd' for image 0"),
        ([3], ["a"], "one of its 1 classes, numbered from 0; image 0 has 3"),
        ([1 << 40], None, "counted from 0; the largest is 1,099,511,627,776 and 1 different ones occur"),
        ([None], None, "every image of x must have a label; image 0 has none"),
    ):
        with pytest.raises(DataError, match=message):
            numbered(found, "x", names)


# ---------------------------------------------------------------------------------------------------- parquet

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CLASSES = ["ant", "bee", "cat"]


def hub(label: str = "label", **info: Any) -> dict[bytes, bytes]:
    features = {"image": {"_type": "Image"}, label: {"_type": "ClassLabel", "names": CLASSES}} | info
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def write_parquet(
    path: Path, seeds: range, metadata: dict[bytes, bytes] | None = None, **columns: Any
) -> Path:
    rows = [{"bytes": encoded(seed, ("PNG", "JPEG")[seed % 2]), "path": f"{seed}.img"} for seed in seeds]
    table = {"image": pa.array(rows, IMAGE), "label": pa.array([seed % 3 for seed in seeds])} | columns
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table).replace_schema_metadata(metadata), path, row_group_size=4)
    return path


def test_parquet_is_read_across_shards_and_row_groups(tmp_path: Path) -> None:
    for shard in range(3):
        seeds = range(10 * shard, 10 * shard + 10)
        write_parquet(tmp_path / "pets" / "data" / f"train-{shard:05}-of-00003.parquet", seeds, hub())
        write_parquet(
            tmp_path / "pets" / "data" / f"validation-{shard:05}-of-00003.parquet", range(50, 53), hub()
        )
    source = open_source(str(tmp_path / "pets"))
    assert (source.name, source.split, len(source)) == ("pets", "train", 30)
    assert source.classes == ("ant", "bee", "cat")
    assert source.labels.tolist() == [seed % 3 for seed in range(30)]
    for index in np.random.default_rng(0).permutation(30).tolist():
        content = source.encoded(index)
        assert (content is not None) == (index % 2 == 1)
        if content is None:
            np.testing.assert_array_equal(source.read(index), noise(index, 12, 16, 3))
        else:
            assert content == encoded(index, "JPEG")
    assert source.sample_name(17) == "train-00001-of-00003.parquet:7"
    assert len(open_source(str(tmp_path / "pets"), split="val")) == 9
    with pytest.raises(DataError, match=r"holds: train, val; got test: name the files of another"):
        open_source(str(tmp_path / "pets"), split="test")
    assert len(open_source(str(tmp_path / "pets" / "data" / "train-*1-of-*.parquet"))) == 10


def test_parquet_keeps_few_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.sources import parquet

    path = write_parquet(tmp_path / "x.parquet", range(40))
    monkeypatch.setattr(parquet, "_MOST_BYTES", 3 * len(encoded(0)) * 4)
    source = ParquetSource("x", "train", [path])
    for index in range(40):
        source.read(index)
        assert sum(one.nbytes for one in source._kept.values()) < 3 * len(encoded(0)) * 4
    assert 1 <= len(source._kept) <= 3


def test_parquet_columns_are_found_by_kind_or_name(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    images = pa.array([encoded(seed) for seed in range(3)], pa.binary())
    pq.write_table(pa.table({"picture": images, "kind": ["dog", "cat", "dog"]}), path)
    source = open_source(str(path))
    assert (source.classes, source.labels.tolist()) == (("cat", "dog"), [1, 0, 1])
    np.testing.assert_array_equal(source.read(2), noise(2, 12, 16, 3))
    more = {"width": pa.array([1, 2, 3]), "img": pa.array([None] * 3, IMAGE)}
    write_parquet(path, range(3), hub(), **more)
    assert open_source(str(path)).labels.tolist() == [0, 1, 2]
    write_parquet(
        path, range(3), hub("fine"), label=pa.array([0.5] * 3), fine=pa.array([2, 1, 0]), id=pa.array([7] * 3)
    )
    source = open_source(str(path))
    assert (source.labels.tolist(), source.classes) == ([2, 1, 0], ("ant", "bee", "cat"))
    write_parquet(path, range(3), None, label=pa.array([0.5] * 3), a=pa.array([1] * 3), b=pa.array([2] * 3))
    with pytest.raises(DataError, match=r"must be whole numbers or texts; x\.parquet:0 has 0\.5"):
        open_source(str(path))


@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_splits_in_a_folder_share_their_classes(tmp_path: Path, kind: str) -> None:
    splits: dict[str, list[Any]] = {"train": ["ant", "bee", "cat"], "test": ["cat", "bee"], "val": [None]}

    def write(prefix: str, splits: dict[str, list[Any]]) -> str:
        folder = tmp_path / prefix
        folder.mkdir()
        for split, labels in splits.items():
            path = folder / f"{split}-000.{kind}"
            if kind == "parquet":
                rows = pa.array([{"bytes": encoded(0), "path": None}] * len(labels), IMAGE)
                table = {"image": rows} if labels == [None] else {"image": rows, "label": labels}
                pq.write_table(pa.table(table), path)
            else:
                images = {f"{place}.png": encoded(0) for place in range(len(labels))}
                texts = {f"{place}.cls": str(label).encode() for place, label in enumerate(labels) if label}
                write_tar(path, dict(sorted((images | texts).items())))
        return str(folder)

    text = write("texts", splits)
    for split in ("train", "test"):
        source = open_source(text, split=split)
        assert source.classes == ("ant", "bee", "cat")
        assert [source.classes[label] for label in source.labels] == splits[split]
    # A file that is named by itself may be all there is of its set.
    assert open_source(f"{text}/test-000.{kind}", split="test").classes == ("bee", "cat")
    numbers = write("numbers", {"train": [0, 4], "test": [1]})
    assert open_source(numbers, split="test").classes == ("0", "1", "2", "3", "4")


def test_parquet_that_names_its_classes_needs_no_other_split(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test-0.parquet", range(3), hub())
    (tmp_path / "train-0.parquet").write_bytes(b"half")
    assert open_source(str(tmp_path), split="test").classes == ("ant", "bee", "cat")


def test_parquet_without_a_label_or_with_one_outside_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", range(3), hub(), label=pa.array([0, None, 1]))
    with pytest.raises(DataError, match=r"every image of .* must have a label; x\.parquet:1 has none"):
        open_source(str(path))
    write_parquet(path, range(3), hub(), label=pa.array([0, -1, -1]))
    with pytest.raises(
        DataError, match=r"one of its 3 classes, numbered from 0; x\.parquet:1 has -1, as where"
    ):
        open_source(str(path))


def test_parquet_damage_is_named(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", range(8))
    whole = path.read_bytes()
    for size in (0, 4, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"x\.parquet must be a whole Parquet file") as caught:
            open_source(str(path))
        assert "\n" not in str(caught.value)
    rows = [{"bytes": encoded(0)[:-40], "path": None}, {"bytes": None, "path": "/gone.png"}, None]
    write_parquet(path, range(3), image=pa.array(rows, IMAGE))
    source = open_source(str(path))
    for index, message in enumerate(
        ("can't be decoded", "no bytes, only the path /gone.png", "row is empty")
    ):
        with pytest.raises(CorruptSampleError, match=rf"x\.parquet:{index} of .*{message}"):
            source.read(index)
        with pytest.raises(CorruptSampleError, match=rf"x\.parquet:{index} of "):
            source.encoded(index) if index else source.read(index)


# ----------------------------------------------------------------------------------------------------- shards


# Webdataset's reader leaves files open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_webdatasets_own_shards_are_read(tmp_path: Path) -> None:
    with webdataset.ShardWriter(str(tmp_path / "set-%03d.tar"), maxcount=10, verbose=0) as sink:
        for number in range(25):
            sink.write({
                "__key__": f"some.folder/{number:04}",
                ("jpg", "png", "ppm")[number % 3]: noise(number, 12, 16, 3),
                "cls" if number % 2 else "json": number % 4 if number % 2 else {"label": number % 4, "x": 1},
            })  # fmt: skip
    assert len(list(tmp_path.glob("*.tar"))) == 3
    theirs = webdataset.WebDataset(
        str(tmp_path / "set-{000..002}.tar"), shardshuffle=False, empty_check=False
    ).decode("pil")
    for text in (tmp_path / "set-{000..002}.tar", tmp_path, tmp_path / "set-*.tar"):
        source = open_source(str(text))
        assert len(source) == 25
        assert source.classes == ("0", "1", "2", "3")
        for index, sample in enumerate(theirs):
            ending = next(ending for ending in ("jpg", "png", "ppm") if ending in sample)
            np.testing.assert_array_equal(source.read(index), np.asarray(sample[ending]))
            assert source.labels[index] == index % 4
            assert (source.encoded(index) is not None) == (ending == "jpg")
            assert source.sample_name(index) == f"set-{index // 10:03}.tar/some.folder/{index:04}.{ending}"
    assert len(open_source(str(tmp_path / "set-001.tar"))) == 10


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_labels_in_shards_may_be_texts(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "x.tar",
        {"a.png": encoded(0), "a.cls": b"dog\n", "b.JPG": encoded(1, "JPEG"), "b.json": b'{"label": "cat"}'},
    )
    source = open_source(str(path))
    assert (source.classes, source.labels.tolist()) == (("cat", "dog"), [1, 0])
    assert source.encoded(1) == encoded(1, "JPEG")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.png": encoded(0)}, r"must have a label \(cls, or label in json\); a has none"),
        ({"a.png": encoded(0), "a.cls": b""}, "a has none"),
        ({"a.png": encoded(0), "a.json": b"[1]"}, "a has none"),
        ({"a.png": encoded(0), "a.json": b'{"label"'}, "a has none"),
        ({"a.cls": b"1"}, "must have an image; a has none"),
        ({"a.cls": b"1", "b.png": encoded(0)}, "must have an image; a has none"),
        ({"a.png": encoded(0), "a.cls": b"-1"}, r"numbered from 0; x\.tar/a\.png has -1"),
        ({"a.png": encoded(0), "a.cls": b"x", "b.png": encoded(0), "b.cls": b"1"}, ""),
    ],
)
def test_samples_without_image_or_label_are_refused(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    path = write_tar(tmp_path / "x.tar", members)
    if message:
        with pytest.raises(DataError, match=message):
            open_source(str(path))
    else:
        source = open_source(str(path))
        assert source.classes == ("1", "x")
        assert "all are taken as texts, 1 numbers as well" in source.notes[0]


def test_damaged_shards_are_named(tmp_path: Path) -> None:
    members = {
        f"{number}.{kind}": encoded(number) if kind == "png" else b"1"
        for number in range(9)
        for kind in ("png", "cls")
    }
    path = write_tar(tmp_path / "x.tar", members)
    whole = path.read_bytes()
    for size in (100, 700, 5_000):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"x\.tar must"):
            open_source(str(path))
    path.write_bytes(whole)
    source = open_source(str(path))
    path.write_bytes(whole[:2_000])
    with pytest.raises(CorruptSampleError, match=r"x\.tar/8\.png of .*the shard ends \d+ bytes before it"):
        source.read(8)
    path.write_bytes(whole[:520] + bytes(200) + whole[720:])
    with pytest.raises(CorruptSampleError, match=r"x\.tar/0\.png of WebDataset .* must be a whole image"):
        source.read(0)


def test_patterns_of_files(tmp_path: Path) -> None:
    for name in ("a-00.tar", "a-01.tar", "b-00.tar", "b-01.tar", "c.txt"):
        (tmp_path / name).touch()

    def names(text: str) -> list[str]:
        return [path.name for path in find_shards(str(tmp_path / text), ".tar", "train")]

    assert names("a-{00..01}.tar") == names("a-*.tar") == names("a-0?.tar") == ["a-00.tar", "a-01.tar"]
    assert names("[ab]-{01..01}.tar") == ["a-01.tar", "b-01.tar"]
    assert names("b-01.tar") == ["b-01.tar"]
    assert names(".") == ["a-00.tar", "a-01.tar", "b-00.tar", "b-01.tar"]
    assert names("c.txt") == []
    with pytest.raises(DataError, match=r"there is no .*a-02\.tar"):
        names("a-{00..02}.tar")
    with pytest.raises(DataError, match=r"there is no .*x-\*\.tar"):
        names("x-*.tar")
    with pytest.raises(DataError, match=r"there is no .*a-\{2\.\.1\}\.tar"):
        names("a-{2..1}.tar")
    assert name_of(str(tmp_path / "a-00.tar")) == "a"
    assert name_of("pets/train-{00..09}.tar") == "pets"
    assert name_of("x/cifar10.parquet") == "cifar10"


def test_an_image_folder_with_splits_stays_one_beside_its_archives(tmp_path: Path) -> None:
    save(tmp_path / "train" / "cat" / "0.png", 0)
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(b"kept after unpacking")
    assert isinstance(open_source(str(tmp_path)), ImageFolder)


# --------------------------------------------------------------------------------------------- Python objects


class Pairs:
    """Items of all kinds, without an attribute for their labels."""

    def __init__(self, items: list[Any] | None = None) -> None:
        pixels = noise(0, 6, 8, 3)
        self.items = items or [
            (Image.fromarray(pixels), 0),
            (Image.fromarray(pixels[..., 0]), np.int64(1)),
            (pixels, torch.tensor(2)),
            (torch.from_numpy(pixels).permute(2, 0, 1).float() / 255, np.array(1)),
            [pixels, 0, "more"],
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def test_objects_give_pictures_arrays_and_tensors() -> None:
    source = ObjectSource(Pairs(), "here:Pairs", "train")
    assert source.labels.tolist() == [0, 1, 2, 1, 0]
    assert source.notes[0].startswith("here:Pairs has no attribute targets or labels")
    pixels = noise(0, 6, 8, 3)
    for index in (0, 2, 3, 4):
        np.testing.assert_array_equal(source.read(index), pixels)
    np.testing.assert_array_equal(source.read(1), np.stack([pixels[..., 0]] * 3, 2))
    assert source.sample_name(3) == "here:Pairs[3]"


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([noise(0, 2, 2)], r"items of x must be \(image, label\); x\[0\] is a ndarray"),
        ([(noise(0, 2, 2), 0.5)], r"must be whole numbers or texts; x\[0\] has 0\.5"),
    ],
)
def test_objects_whose_items_are_no_pairs_are_refused(items: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ObjectSource(Pairs(items), "x", "train")


def test_an_item_that_fails_is_named() -> None:
    class Fails(Pairs):
        targets = (0, 1, 2, 3, 4)

        def __getitem__(self, index: int) -> Any:
            if index == 3:
                raise OSError("no such file,\nor so")
            return ("text", 0) if index == 4 else super().__getitem__(index)

    source = ObjectSource(Fails(), "x", "train")
    with pytest.raises(
        CorruptSampleError, match=r"x\[3\] must be an image; reading it gave: no such file, or so"
    ):
        source.read(3)
    with pytest.raises(
        CorruptSampleError, match=r"x\[4\] must be an image.* it is a str, and no Pillow image"
    ):
        source.read(4)
    Fails.targets = (0, 1)  # type: ignore[assignment]
    with pytest.raises(DataError, match="one label per item; it has 2 labels and 5 items"):
        ObjectSource(Fails(), "x", "train")


def test_torchvisions_own_data_sets_convert(tmp_path: Path) -> None:
    source = ObjectSource(datasets.FakeData(12, (3, 20, 24), 5), "torchvision.datasets:FakeData", "train")
    convert(source, tmp_path / "x.beton", ConvertOptions(encoding="raw"))
    theirs, data = datasets.FakeData(12, (3, 20, 24), 5), open_dataset(tmp_path / "x.beton")
    for index in range(12):
        np.testing.assert_array_equal(data.image(index), np.asarray(theirs[index][0]))
        assert data.labels[index] == theirs[index][1]


def test_objects_are_found_from_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
import numpy as np
class Set:
    classes = ["a", ("b", "bee")]
    def __init__(self, shift=0):
        self.labels = np.arange(4) % 2
        self.shift = shift
    def __len__(self): return 4
    def __getitem__(self, i): return np.full((5, 5, 3), i + self.shift, np.uint8), self.labels[i]
here = Set()
class Space:
    inner = here
def make(split): return Set(100 if split == "test" else 50)
def broken(): raise RuntimeError("no data\\nat all")
number = 3
"""
    )
    script = """
import sys
from tools.cli import main
for number, text in enumerate(sys.argv[1:]):
    print(main(["convert", text, f"{number}.beton", "--split", "test"]))
"""
    names = ("here", "Space.inner", "Set", "make", "broken", "number", "gone")
    done = subprocess.run(
        [sys.executable, "-c", script, *(f"mine:{name}" for name in names), "nowhere:x"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=600,
    )
    statuses = [line for line in done.stdout.splitlines() if line in ("0", "1", "2")]
    assert statuses == ["0"] * 4 + ["2"] * 4, done.stderr
    for number, shift in enumerate((0, 0, 0, 100)):
        data = open_dataset(tmp_path / f"{number}.beton")
        assert [int(data.image(index)[0, 0, 0]) for index in range(4)] == list(range(shift, shift + 4))
        assert data.card.classes == ("a", "b, bee")
        assert data.card.name == f"mine:{names[number]}"
    for line, message in zip(
        done.stderr.splitlines(),
        ("gave: no data at all", "mine:number is a int", "no attribute 'gone'", "No module named 'nowhere'"),
        strict=True,
    ):
        assert message in line


# ----------------------------------------------------------------------------------------- images of any kind


def odd_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    colours = Image.fromarray(noise(0, 40, 90, 3))
    turned = Image.Exif()
    turned[0x0112] = 6
    colours.convert("L").save(folder / "grey.jpg")
    colours.convert("RGBA").save(folder / "rgba.png")
    colours.convert("CMYK").save(folder / "cmyk.jpg")
    colours.convert("P").save(folder / "palette.png")
    colours.convert("P").save(folder / "palette.gif", transparency=3)
    colours.convert("1").save(folder / "bits.png")
    colours.save(folder / "turned.jpg", exif=turned)
    Image.fromarray(noise(1, 30, 40, 2).view(np.uint16)[..., 0]).save(folder / "deep.png")
    Image.fromarray(noise(2, 1, 1, 3)).save(folder / "one.png")
    Image.fromarray(noise(3, 1, 20_000, 3)).save(folder / "wide.png")
    Image.fromarray(noise(4, 9_000, 2, 3)).save(folder / "tall.jpg")


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
@pytest.mark.parametrize(
    "sizes", [{}, {"square": 32, "levels": (8,)}, {"max_resolution": 50, "levels": (1, 7)}]
)
def test_images_of_every_kind_are_converted(tmp_path: Path, encoding: Any, sizes: dict[str, Any]) -> None:
    odd_images(tmp_path / "set" / "a")
    source = ImageFolder(tmp_path / "set")
    assert len(source) == 11
    convert(source, tmp_path / "x.beton", ConvertOptions(encoding=encoding, quality=100, **sizes))
    data = open_dataset(tmp_path / "x.beton")
    for index in range(len(source)):
        if not sizes:
            original = source.read(index)
            assert data.image(index).shape == original.shape
            if encoding == "raw" or source.encoded(index):
                np.testing.assert_array_equal(data.image(index), original)
            # Noise keeps its average colour in a JPEG, and little else.
            np.testing.assert_allclose(data.image(index).mean((0, 1)), original.mean((0, 1)), atol=6)
        for level in data.levels:
            image = data.at(level).image(index)
            assert min(image.shape[:2]) == min(level, *data.image(index).shape[:2])


def test_a_zip_that_is_none_of_numpys_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("images.npy", b"no array")
        archive.writestr("labels.npy", b"no array")
    with pytest.raises(DataError, match=r"must be a whole \.npz file"):
        open_source(str(tmp_path / "x.npz"))


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_our_own_shards_become_a_beton_with_the_same_images_and_classes(
    tmp_path: Path, encoding: Any
) -> None:
    images = noise(0, 20, 30, 40, 3)
    source = ArraySource("x", "train", "x", ("ant", "bee", "cat"), np.arange(20) % 3, images)
    convert(source, tmp_path / "x.wds", ConvertOptions(encoding=encoding, levels=(8,)))
    shards = open_source(str(tmp_path / "x.wds"))
    convert(shards, tmp_path / "x.beton", ConvertOptions(encoding=encoding))
    one, other = open_dataset(tmp_path / "x.wds"), open_dataset(tmp_path / "x.beton")
    assert other.card.classes == ("ant", "bee", "cat")
    assert other.labels.tolist() == one.labels.tolist()
    for index in range(20):
        np.testing.assert_array_equal(one.image(index), other.image(index))
