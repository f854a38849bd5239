"""Parquet files as the Hugging Face hub lays them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encoded, noise, write_tar

from pipeline.errors import CorruptSampleError, DataError
from pipeline.sources import open_source
from pipeline.sources.parquet import ParquetSource

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
