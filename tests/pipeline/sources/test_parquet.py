"""Parquet files of every writer's types: labels and images taken as what they are, files at odds refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.errors import DataError
from pipeline.sources import Source, open_source


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


PICTURES = [picture(seed) for seed in range(4)]


def write(path: Path, label: Any, image: Any = None, names: list[str] | None = None, **columns: Any) -> Path:
    table: dict[str, Any] = {"image": pa.array(PICTURES[: len(label)]) if image is None else image}
    features = {"label": {"_type": "ClassLabel", "names": names}}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()} if names else None
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table | {"label": label} | columns).replace_schema_metadata(metadata), path)
    return path


def opened(path: Path) -> Source:
    return open_source(str(path))


@pytest.mark.parametrize(
    ("label", "labels", "classes"),
    [
        (pa.array(["b", "a", "b"]).dictionary_encode(), [1, 0, 1], ("a", "b")),
        (pa.array([2, 0, 1]).dictionary_encode(), [2, 0, 1], ("0", "1", "2")),
        (pa.array(["b", "a"], pa.large_string()), [1, 0], ("a", "b")),
        (pa.array([b"b", b"a"]), [1, 0], ("a", "b")),
        (pa.array([True, False]), [1, 0], ("False", "True")),
        (pa.array([1.0, 0.0], pa.float32()), [1, 0], ("0", "1")),
        (pa.array([1, 0], pa.decimal128(5, 2)), [1, 0], ("0", "1")),
        (pa.array([1, 0], pa.uint8()), [1, 0], ("0", "1")),
        (pa.array([[1], [0]]), [1, 0], ("0", "1")),
        (pa.array([[0, 1], [1, 0]], pa.list_(pa.int8(), 2)), [1, 0], ("0", "1")),
        (pa.array([["b"], ["a"]], pa.large_list(pa.string())), [1, 0], ("a", "b")),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)
def test_labels_of_every_arrow_type_are_taken(
    tmp_path: Path, label: Any, labels: list[int], classes: tuple[str, ...]
) -> None:
    source = opened(write(tmp_path / "x.parquet", label))
    assert (source.labels.tolist(), source.classes) == (labels, classes)


@pytest.mark.parametrize("kind", ["struct", "large", "category", "binary"])
def test_images_of_every_arrow_type_are_read(tmp_path: Path, kind: str) -> None:
    rows = [{"bytes": content, "path": None} for content in PICTURES[:2]]
    image = {
        "struct": pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "large": pa.array(rows, pa.struct([("bytes", pa.large_binary()), ("path", pa.string())])),
        "category": pa.array(PICTURES[:2]).dictionary_encode(),
        "binary": pa.array(PICTURES[:2]),
    }[kind]
    source = opened(write(tmp_path / "x.parquet", [0, 1], image))
    for index in range(2):
        np.testing.assert_array_equal(source.read(index), Image.open(io.BytesIO(PICTURES[index])))


def test_shards_with_labels_of_two_types_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", [0, 1])
    write(tmp_path / "train-1.parquet", [1.0, 0.0])
    assert opened(tmp_path).labels.tolist() == [0, 1, 1, 0]
    write(tmp_path / "train-2.parquet", ["cat", "dog"])
    line = r"one type throughout; got numbers in train-0\.parquet and texts in train-2\.parquet"
    with pytest.raises(DataError, match=line):
        opened(tmp_path)
    (tmp_path / "train-2.parquet").rename(tmp_path / "test-0.parquet")
    with pytest.raises(DataError, match=r"numbers in train-0\.parquet and texts in test-0\.parquet"):
        opened(tmp_path)
    # Tests without labels: a column of nothing is of every type.
    write(tmp_path / "test-0.parquet", pa.nulls(2))
    assert opened(tmp_path).classes == ("0", "1")


def test_shards_that_number_their_classes_differently_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "x-0.parquet", [0, 1], names=["ant", "bee"])
    write(tmp_path / "x-1.parquet", [0, 1])
    assert opened(tmp_path).classes == ("ant", "bee")
    write(tmp_path / "x-2.parquet", [0, 1], names=["bee", "ant"])
    with pytest.raises(
        DataError, match=r"x-2\.parquet must number the classes of label as x-0\.parquet does; th"
    ):
        opened(tmp_path)
    # Names that only a later file has serve all.
    (tmp_path / "x-2.parquet").unlink()
    write(tmp_path / "x-0.parquet", [0, 1])
    write(tmp_path / "x-1.parquet", [0, 1], names=["ant", "bee"])
    assert opened(tmp_path).classes == ("ant", "bee")


def test_shards_with_other_columns_are_named_and_empty_ones_are_none(tmp_path: Path) -> None:
    write(tmp_path / "x-0.parquet", [0, 1])
    write(tmp_path / "x-1.parquet", pa.array([], pa.int64()), pa.array([], pa.binary()))
    assert len(opened(tmp_path)) == 2
    pq.write_table(pa.table({"img": PICTURES[:1], "label": [0]}), tmp_path / "x-2.parquet")
    with pytest.raises(
        DataError, match=r"x-2\.parquet must have the columns of x-0\.parquet, image and label; it"
    ):
        opened(tmp_path)
    write(tmp_path / "x-2.parquet", [0], pa.array(["a path"]))
    with pytest.raises(
        DataError, match=r"x-2\.parquet must have images in the column image.*it holds string"
    ):
        opened(tmp_path)
    twice = pa.table([pa.array(PICTURES[:1]), pa.array([0]), pa.array([1])], ["image", "label", "label"])
    pq.write_table(twice, tmp_path / "x-2.parquet")
    with pytest.raises(DataError, match="columns with names of their own; two are called label"):
        opened(tmp_path)


def test_the_column_of_labels_is_found_among_others(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write(path, [0, 1], width=[32, 32], score=[0.5, 1.5], turned=[True, False])
    assert opened(path).labels.tolist() == [0, 1]
    pq.write_table(pa.table({"image": PICTURES[:2], "kind": ["b", "a"], "turned": [True, False]}), path)
    assert opened(path).classes == ("a", "b")
    # A label in bytes is no second column of images.
    pq.write_table(pa.table({"picture": PICTURES[:2], "label": [b"b", b"a"]}), path)
    assert opened(path).labels.tolist() == [1, 0]


def test_a_label_that_is_missing_is_named_by_file_and_row(tmp_path: Path) -> None:
    write(tmp_path / "x-0.parquet", [0.0, 1.0])
    write(tmp_path / "x-1.parquet", [1.0, float("nan")])
    with pytest.raises(DataError, match=r"must have a label; x-1\.parquet:1 has none"):
        opened(tmp_path)
    write(tmp_path / "x-1.parquet", pa.array([1.0, None]))
    with pytest.raises(DataError, match=r"must have a label; x-1\.parquet:1 has none"):
        opened(tmp_path)


def test_a_changed_byte_is_told_where_the_writer_left_checksums(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    table = pa.table({"image": PICTURES, "label": [0, 1, 2, 3]})
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    place = content.index((3).to_bytes(8, "little"), content.index((2).to_bytes(8, "little")))
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"x\.parquet must be a whole Parquet file; reading it gave: .*checksum"
    ):
        opened(path)
