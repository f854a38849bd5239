"""WebDataset folders are written whole or not at all, and a suspended writer goes on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from drawn_sets import Pixels, noise
from webdataset_folders import append, contents, flip, of_noise, sample, write

from pipeline.errors import DataError
from pipeline.formats import FORMATS
from pipeline.formats.webdataset import WebDataset, WebDatasetFormat
from pipeline.formats.webdataset_writer import WebDatasetWriter
from pipeline.formats.whole import partial_path


def take_over(
    writer: WebDatasetWriter, index: int, image: Pixels, compressed: bool, levels: Sequence[int] = ()
) -> bool:
    made = sample(index, image, compressed, levels)
    return writer.take_over(replace(made, images=[replace(one, content=None) for one in made.images]))


def test_a_suspended_conversion_goes_on_to_the_same_bytes(tmp_path: Path, images: list[Pixels]) -> None:
    def compressed(index: int) -> bool:
        return index % 3 > 0

    write(tmp_path / "whole/set.wds", images, compressed, (8, 24), shard_size=25_000)
    for stop in (0, 1, 5, 11):
        path = tmp_path / f"at {stop}/set.wds"
        with WebDatasetWriter(path, 12, levels=(8, 24), shard_size=25_000) as writer:
            for index in range(stop + 1):
                append(writer, index, images[index], compressed(index), (8, 24))
            writer.suspend()
        assert not path.exists()
        with WebDatasetWriter(path, 12, levels=(8, 24), shard_size=25_000, resume=True) as writer:
            for index in range(stop):
                assert take_over(writer, index, images[index], compressed(index), (8, 24))
            for index in range(stop, 12):
                append(writer, index, images[index], compressed(index), (8, 24))
            writer.publish(writer.finish(of_noise(images, (8, 24))))
        assert contents(path) == contents(tmp_path / "whole/set.wds")


def test_a_published_folder_is_taken_back(tmp_path: Path, images: list[Pixels]) -> None:
    path = tmp_path / "set.wds"
    write(path, images)
    before = contents(path)
    with WebDatasetWriter(path, 12, resume=True) as writer:
        assert not path.exists()
        assert all(take_over(writer, index, image, compressed=False) for index, image in enumerate(images))
        writer.publish(writer.finish(of_noise(images)))
    assert contents(path) == before


def test_what_was_not_left_whole_is_not_taken_over(tmp_path: Path, images: list[Pixels]) -> None:
    path = tmp_path / "set.wds"
    with WebDatasetWriter(path, 12) as writer:
        for index in range(3):
            append(writer, index, images[index], compressed=True)
        writer.suspend()
    flip(partial_path(path) / "set-000000.tar", 7000)
    with WebDatasetWriter(path, 12, resume=True) as writer:
        assert [take_over(writer, index, images[index], compressed=True) for index in range(4)].count(
            False
        ) == 2


def test_nothing_appears_before_a_folder_is_whole(tmp_path: Path, images: list[Pixels]) -> None:
    path = tmp_path / "set.wds"
    with WebDatasetWriter(path, 12) as writer:
        append(writer, 0, images[0], compressed=False)
        assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_an_older_folder_stays_until_the_new_one_replaces_it(tmp_path: Path, images: list[Pixels]) -> None:
    path = tmp_path / "set.wds"
    write(path, images[:5])
    with WebDatasetWriter(path, 12) as writer:
        for index, image in enumerate(images):
            append(writer, index, image, compressed=False)
        card = writer.finish(of_noise(images))
        assert len(WebDataset(path)) == 5
        writer.publish(card)
    assert len(WebDataset(path)) == 12
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("entry", ["holiday.jpg", "notes/", ".hidden"])
def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path, images: list[Pixels], entry: str) -> None:
    path = tmp_path / "set.wds"
    write(path, images)
    other = path / entry
    other.mkdir() if entry.endswith("/") else other.write_bytes(b"dear to somebody")
    with pytest.raises(DataError, match="must be a WebDataset and nothing else to be replaced"):
        write(path, images)
    assert other.exists()
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError, match=r"must end in \.wds"):
        write(tmp_path / "photos", images)


def test_a_file_is_never_replaced(tmp_path: Path, images: list[Pixels]) -> None:
    path = tmp_path / "set.wds"
    path.write_bytes(b"dear to somebody")
    with pytest.raises(DataError, match="must be a WebDataset and nothing else to be replaced"):
        write(path, images)
    assert path.read_bytes() == b"dear to somebody"


def test_an_older_folder_is_put_back_where_the_writer_was_killed_in_between(
    tmp_path: Path, images: list[Pixels]
) -> None:
    path = tmp_path / "set.wds"
    write(path, images)
    path.replace(tmp_path / ".set.wds.replaced")
    WebDatasetFormat().remove_stale(path)
    assert len(WebDataset(path)) == 12
    shutil.copytree(path, tmp_path / ".set.wds.replaced")
    WebDatasetFormat().remove_stale(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_has_one_writer_at_a_time_and_stale_parts_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "set.wds"
    with WebDatasetWriter(path, 1), pytest.raises(DataError, match="must have one writer at a time"):
        WebDatasetWriter(path, 1)
    with WebDatasetWriter(path, 1) as writer:
        append(writer, 0, noise(0, 4, 4), compressed=False)
        writer.suspend()
    assert partial_path(path).exists()
    FORMATS["wds"]().remove_stale(path)
    assert list(tmp_path.iterdir()) == []
