"""Targets of other kinds than classes, from every source that has them; unlabeled folders."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.errors import DataError
from pipeline.formats import open_dataset
from pipeline.sources import ImageFolder, Source, open_source
from pipeline.sources.protocol import spec_of
from pipeline.sources.python_object import ObjectSource
from pipeline.targets import TargetKind, TargetSpec

LISTS = [[0, 2], [], [1]]
ROWS = [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
NAMES = ("cat", "dog", "owl")


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 8, 3), dtype=np.uint8))


def png(seed: int) -> bytes:
    file = io.BytesIO()
    picture(seed).save(file, "PNG")
    return file.getvalue()


def parquet(path: Path, feature: Any = None, image: str = "image", **columns: Any) -> Path:
    images = [{"bytes": png(seed), "path": None} for seed in range(3)]
    table = pa.table({image: images, **columns})
    if feature is not None:
        info = {"info": {"features": {"label": feature}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, path)
    return path


def check(source: Source, spec: TargetSpec, labels: Any) -> None:
    """Check a source's targets, and that its conversion has them."""
    assert spec_of(source) == spec
    np.testing.assert_array_equal(source.labels, labels)
    assert source.labels.dtype == (np.float32 if spec.kind == "none" else spec.dtype)


# ----------------------------------------------------------------------------------------------- sources


def test_parquet_has_targets_of_every_kind(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", label=LISTS)
    check(open_source(str(path), targets="multi_label"), TargetSpec("multi_label", ("0", "1", "2")), ROWS)
    for feature in (
        {"_type": "Sequence", "feature": {"_type": "ClassLabel", "names": list(NAMES)}},
        [{"_type": "ClassLabel", "names": list(NAMES)}],
    ):
        path = parquet(path, feature, label=LISTS)
        check(open_source(str(path), targets="multi_label"), TargetSpec("multi_label", NAMES), ROWS)
    path = parquet(path, tags=[["owl", "cat"], [], ["dog"]], age=[1.5, 2.5, 3.5])
    check(open_source(str(path), targets="multi_label"), TargetSpec("multi_label", NAMES), ROWS)
    check(open_source(str(path), targets="value"), TargetSpec("value"), [1.5, 2.5, 3.5])
    check(open_source(str(path), targets="none"), TargetSpec("none"), np.zeros((3, 0)))
    path = parquet(path, box=[[1.0, 2.0]] * 3)
    check(open_source(str(path), targets="value"), TargetSpec("value", columns=2), [[1, 2]] * 3)
    path = parquet(path, age=[1, 2, 3], height=[1.0, 2.0, 3.0])
    with pytest.raises(DataError, match=r"one of values \(numbers, .*\) called label; its columns are image"):
        open_source(str(path), targets="value")
    with pytest.raises(DataError, match=r"one of labels \(a list per row\) called label; its columns"):
        open_source(str(path), targets="multi_label")
    path = parquet(path, age=[1.5, 2.5, 3.5])
    with pytest.raises(
        DataError, match=r"age \(double\): rename them, or ask for other targets by --targets"
    ):
        open_source(str(path))
    path = parquet(path, label=[1, 2, 3], height=[1.0, 2.0, 3.0])
    source = open_source(str(path), targets="value")
    check(source, TargetSpec("value"), [1, 2, 3])
    assert any(
        "are the column label; height would do as well: call it label" in note for note in source.notes
    )
    path = parquet(path, label=pa.array([1.0, None, 2.0]))
    with pytest.raises(DataError, match=r"a\.parquet:1 has nan: mend or leave it out"):
        open_source(str(path), targets="value")


def test_npz_has_targets_of_every_kind(tmp_path: Path) -> None:
    path, images = tmp_path / "a.npz", np.zeros((3, 4, 4), np.uint8)
    np.savez(path, images=images, labels=np.array(ROWS), classes=np.array(NAMES))
    check(open_source(str(path), targets="multi_label"), TargetSpec("multi_label", NAMES), ROWS)
    with pytest.raises(DataError, match=r"one-hot, .* or take them by --targets multi_label or value"):
        open_source(str(path))
    np.savez(path, images=images, labels=np.array([0.5, 1.5, 2.5]))
    check(open_source(str(path), targets="value"), TargetSpec("value"), [0.5, 1.5, 2.5])
    with pytest.raises(DataError, match=r"image 0 has 0.5: mend its labels, or take them by --targets value"):
        open_source(str(path))
    np.savez(path, images=images)
    check(open_source(str(path), targets="none"), TargetSpec("none"), np.zeros((3, 0)))
    with pytest.raises(DataError, match="or take images without labels by --targets none"):
        open_source(str(path))


def shard(path: Path, samples: list[dict[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for number, files in enumerate(samples):
            for ending, content in {"png": png(number), **files}.items():
                entry = tarfile.TarInfo(f"{number}.{ending}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return path


def npy(value: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, value)
    return file.getvalue()


def test_tars_have_targets_of_every_kind(tmp_path: Path) -> None:
    listed = [{"json": json.dumps({"label": row}).encode()} for row in LISTS]
    spec = TargetSpec("multi_label", ("0", "1", "2"))
    check(open_source(str(shard(tmp_path / "a.tar", listed)), targets="multi_label"), spec, ROWS)
    arrays = [{"npy": npy(np.array(row, np.uint8))} for row in ROWS]
    check(open_source(str(shard(tmp_path / "b.tar", arrays)), targets="multi_label"), spec, ROWS)
    values = [{"npy": npy(np.float32(number / 2))} for number in range(3)]
    path = shard(tmp_path / "c.tar", values)
    check(open_source(str(path), targets="value"), TargetSpec("value"), [0, 0.5, 1])
    check(open_source(str(path), targets="none"), TargetSpec("none"), np.zeros((3, 0)))
    with pytest.raises(DataError, match=r"must have a label \(cls, or label in json\); 0 has none"):
        open_source(str(path))
    path = shard(tmp_path / "e.tar", [{"cls": b"1", "npy": npy(np.float32(number))} for number in range(3)])
    check(open_source(str(path), targets="value"), TargetSpec("value"), [0, 1, 2])
    with pytest.raises(DataError, match=r"must have a label \(label in json, or npy\); 0 has none"):
        open_source(str(shard(path, [{"cls": b"1"}])), targets="multi_label")
    path = shard(tmp_path / "d.tar", [{"npy": b"no array"}])
    with pytest.raises(DataError, match=r"0\.npy of .* must be an array that NumPy can read"):
        open_source(str(path), targets="value")


@pytest.mark.parametrize("kind", ["multi_label", "value", "none"])
def test_a_webdataset_of_ours_is_converted_with_its_own_targets(tmp_path: Path, kind: TargetKind) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=np.zeros((3, 4, 4), np.uint8), labels=np.array(ROWS), classes=np.array(NAMES))
    source = open_source(str(path), targets=kind)
    convert(source, tmp_path / "a.wds", ConvertOptions())
    again = open_source(str(tmp_path / "a.wds"))
    check(again, spec_of(source), source.labels)
    convert(again, tmp_path / "b.beton", ConvertOptions())
    assert open_dataset(tmp_path / "b.beton").card.spec == spec_of(source)


def test_a_webdataset_with_a_single_label_is_converted_again(tmp_path: Path) -> None:
    """Rows of one column are not taken for lists of the number of its label."""
    for number, rows in enumerate(([[1], [0], [1]], [[0], [0], [0]])):
        path = tmp_path / f"{number}.npz"
        np.savez(path, images=np.zeros((3, 4, 4), np.uint8), labels=np.array(rows), classes=np.array(["cat"]))
        convert(open_source(str(path), targets="multi_label"), path.with_suffix(".wds"), ConvertOptions())
        check(open_source(str(path.with_suffix(".wds"))), TargetSpec("multi_label", ("cat",)), rows)


class Items:
    def __init__(self, targets: list[Any], *, attribute: bool = False) -> None:
        self._items = targets
        if attribute:
            self.targets = targets

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:
        return picture(index), self._items[index]


class Pictures:
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return picture(index)


@pytest.mark.parametrize("attribute", [False, True])
def test_objects_have_targets_of_every_kind(attribute: bool) -> None:
    spec = TargetSpec("multi_label", ("0", "1", "2"))
    for rows in (LISTS, ROWS):
        source = ObjectSource(Items(rows, attribute=attribute), "x", "train", "multi_label")
        check(source, spec, ROWS)
        np.testing.assert_array_equal(source.read(1), np.asarray(picture(1)))
    for values in ([0.5, 1.5, 2.5], [[1.0, 2.0]] * 3):
        source = ObjectSource(Items(values, attribute=attribute), "x", "train", "value")
        check(source, TargetSpec.of("value", (), np.array(values)), values)
        np.testing.assert_array_equal(source.read(2), np.asarray(picture(2)))
    for items in (Items([None] * 3), Pictures()):
        source = ObjectSource(items, "x", "train", "none")
        check(source, TargetSpec("none"), np.zeros((3, 0)))
        np.testing.assert_array_equal(source.read(2), np.asarray(picture(2)))
    with pytest.raises(
        DataError, match=r"must be \(image, label\); .* or take images alone by --targets none"
    ):
        ObjectSource(Pictures(), "x", "train")


def test_an_object_whose_targets_change_is_refused() -> None:
    items = Items([0.5, 1.5, 2.5])
    source = ObjectSource(items, "x", "train", "value")
    items._items[1] = 9.0
    with pytest.raises(DataError, match=r"x\[1\] holds 9.0, and its label was 1.5 before"):
        source.read(1)


def test_named_sets_and_folders_have_classes_or_none(tmp_path: Path) -> None:
    for text in ("cifar10", str(tmp_path)):
        with pytest.raises(
            DataError, match=r"must come from a column or array, .*: leave --targets out, or give"
        ):
            open_source(text, targets="value", data_dir=tmp_path)


# --------------------------------------------------------------------------------------- unlabeled folders


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(path)


def names(source: Source) -> list[str]:
    return [source.sample_name(index) for index in range(len(source))]


def test_a_flat_folder_is_taken_unlabeled_where_that_is_asked_for(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "photos" / f"{number}.png", number)
    save(tmp_path / "photos" / "more" / "9.png", 9)
    (tmp_path / "photos" / "notes.txt").write_text("none")
    source = open_source(str(tmp_path / "photos"), targets="none")
    assert names(source) == ["0.png", "1.png", "2.png", "more/9.png"]
    assert any("1 files that are no images by their endings" in note for note in source.notes)
    check(source, TargetSpec("none"), np.zeros((4, 0)))
    (tmp_path / "photos" / "more" / "9.png").unlink()
    with pytest.raises(
        DataError, match="arrange it as CLASS/IMAGE, or take them unlabeled by --targets none"
    ):
        open_source(str(tmp_path / "photos"))


def test_splits_of_unlabeled_images_are_kept_apart(tmp_path: Path) -> None:
    save(tmp_path / "set" / "train" / "a.png", 0)
    save(tmp_path / "set" / "test" / "b.png", 1)
    save(tmp_path / "set" / "beside" / "c.png", 2)
    train = open_source(str(tmp_path / "set"), targets="none")
    assert (names(train), train.name, train.split) == (["a.png"], "set", "train")
    assert any("folders beside the splits are left out (beside)" in note for note in train.notes)
    assert names(open_source(str(tmp_path / "set"), split="test", targets="none")) == ["b.png"]
    with pytest.raises(DataError, match=r"must be one that .* holds: train, test; got val"):
        open_source(str(tmp_path / "set"), split="val", targets="none")
    with pytest.raises(DataError, match="or take them unlabeled by --targets none"):
        ImageFolder(tmp_path / "set")
    alone = open_source(str(tmp_path / "set" / "test"), targets="none")
    assert (names(alone), alone.name, alone.split) == (["b.png"], "set", "test")


def test_class_folders_may_be_taken_unlabeled(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "pets" / ("cat", "dog")[number % 2] / f"{number}.png", number)
    assert names(open_source(str(tmp_path / "pets"), targets="none")) == [
        "cat/0.png", "cat/2.png", "dog/1.png", "dog/3.png",
    ]  # fmt: skip


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="a folder of unlabeled images must hold images"):
        open_source(str(tmp_path / "empty"), targets="none")
