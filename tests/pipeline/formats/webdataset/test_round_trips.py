"""WebDataset folders: what is written is read."""

from __future__ import annotations

import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from drawn_sets import Pixels, noise
from PIL import Image
from webdataset_folders import CLASSES, contents, decode, flip, stored, write

from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import card_path, open_dataset
from pipeline.formats.sheet import contact_sheet
from pipeline.formats.verify import verify
from pipeline.formats.webdataset import WebDataset


@pytest.mark.parametrize("shard_size", [1, 20_000, 1 << 28], ids=["a sample a shard", "several", "one"])
def test_what_is_written_is_read(tmp_path: Path, images: list[Pixels], shard_size: int) -> None:
    path = tmp_path / "set.wds"
    card = write(path, images, lambda index: index % 3 > 0, shard_size=shard_size)
    data = open_dataset(path)
    assert isinstance(data, WebDataset)
    assert len(data) == len(images)
    assert data.card == card
    assert data.labels.tolist() == [0, 1] * 6
    for index, image in enumerate(images):
        content = stored(image, index % 3 > 0)
        assert data.compressed[index] == (index % 3 > 0)
        assert (data.heights[index], data.widths[index]) == image.shape[:2]
        assert data.encoded(index) == content
        place = data.offsets[index], data.offsets[index] + data.sizes[index]
        assert bytes(data.shards[data.shard[index]][slice(*place)]) == content
        assert (data.image(index) == (decode(content) if data.compressed[index] else image)).all()
        assert data.name(index) == f"{CLASSES[index % 2]}/{index:03}.img"
    shards = sorted(path.glob("*.tar"))
    assert len(shards) == len(data.shards)
    assert (len(shards) == 1) == (shard_size > 1 << 20)
    assert len(shards) == 12 or shard_size > 1
    if shard_size > 1:
        assert max(shard.stat().st_size for shard in shards) <= shard_size
    assert verify(path).sound


def test_levels_are_read_and_not_stored_twice(tmp_path: Path) -> None:
    images = [noise(0, 20, 20), noise(1, 40, 40), noise(2, 60, 60)]
    path = tmp_path / "levels.wds"
    write(path, images, lambda index: index > 0, levels=(16, 48))
    data = open_dataset(path)
    assert data.levels == (16, 48)
    for level in (16, 48):
        small = data.at(level)
        assert (small.card.min_height, small.card.max_height) == (min(20, level), min(60, level))
        for index, image in enumerate(images):
            expected = image[:level, :level]
            assert small.encoded(index) == stored(expected, index > 0)
            assert small.image(index).shape == expected.shape
            assert small.name(index) == data.name(index)
    assert data.at(48).offsets[:2].tolist() == data.offsets[:2].tolist()
    with tarfile.open(path / "levels-000000.tar") as archive:
        names = archive.getnames()
    assert names == [
        *("000000000.ppm", "000000000.16.ppm", "000000000.cls"),
        *("000000001.jpg", "000000001.16.jpg", "000000001.cls"),
        *("000000002.jpg", "000000002.16.jpg", "000000002.48.jpg", "000000002.cls"),
    ]
    with pytest.raises(DataError, match=r"must be one that it holds: \(16, 48\); got 20"):
        data.at(20)
    assert verify(path).sound


def test_damage_at_a_level_is_named(tmp_path: Path) -> None:
    path = tmp_path / "levels.wds"
    write(path, [noise(index, 40, 40) for index in range(3)], lambda index: True, levels=(16,))
    data = WebDataset(path).at(16)
    flip(path / "levels-000000.tar", int(data.offsets[2]) + 60)
    with pytest.raises(CorruptSampleError, match=r"sample 2 \(even/002.img\) at level 16 holds other bytes"):
        WebDataset(path).at(16).image(2)
    assert list(verify(path).broken) == [2]
    WebDataset(path).image(2)


def test_the_same_samples_give_the_same_bytes(tmp_path: Path, images: list[Pixels]) -> None:
    for name in ("one", "other"):
        write(tmp_path / name / "set.wds", images, lambda index: index % 2 > 0, (8,), shard_size=30_000)
    assert contents(tmp_path / "one/set.wds") == contents(tmp_path / "other/set.wds")


def test_without_its_card_a_folder_speaks_for_itself(mixed: Path) -> None:
    card = WebDataset(mixed).card
    assert card_path(mixed) == mixed / "card.json"
    card_path(mixed).unlink()
    assert WebDataset(mixed).card == replace(card, digest=None, created_by="")


def test_a_folder_pickles_as_its_path(mixed: Path) -> None:
    data = WebDataset(mixed)
    content = pickle.dumps(data)
    assert len(content) < 500
    assert (pickle.loads(content).image(3) == data.image(3)).all()


def test_an_image_is_a_copy_that_may_be_written_to(mixed: Path) -> None:
    data = WebDataset(mixed)
    data.image(0)[:] = 0
    assert data.image(0).any()
    assert not data.shards[0].flags.writeable


def test_a_contact_sheet_is_drawn(mixed: Path, tmp_path: Path) -> None:
    contact_sheet(open_dataset(mixed), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 100
