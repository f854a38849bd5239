"""Tar shards as webdataset writes them, and patterns of file names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import webdataset
from image_files import encoded, noise, save, write_tar

from pipeline.errors import CorruptSampleError, DataError
from pipeline.sources import ImageFolder, open_source
from pipeline.sources.shards import find_shards, name_of


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
