"""Images left out as corrupt, and conversions that were stopped by them."""

from __future__ import annotations

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from killed_conversions import IMAGES, OPTIONS, Converter, contents, go_on, run

from pipeline.conversion.convert import ConvertOptions, convert, skipped_path, validation_path
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import open_dataset
from pipeline.formats.verify import verify
from pipeline.sources import ImageFolder


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """The same images, of which numbers 100, 101 and 201 are cut short."""
    root = tmp_path / "damaged" / "set"
    shutil.copytree(folder, root)
    for number in (100, 101, 201):
        path = next(root.rglob(f"{number}.*"))
        path.write_bytes(path.read_bytes()[:-500])
    return root


def test_corrupt_images_are_left_out_and_listed_when_asked(damaged: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "x.beton"
    card = convert(ImageFolder(damaged), out, replace(OPTIONS, skip_corrupt=True))
    held = open_dataset(validation_path(out))
    data = open_dataset(out)
    assert data.card == card
    assert card.samples + held.card.samples == IMAGES - 3
    assert card.skipped + held.card.skipped == 3
    lines = [
        line.split("\t")
        for path in (out, validation_path(out))
        if skipped_path(path).exists()
        for line in skipped_path(path).read_text().splitlines()
    ]
    assert sorted(name for name, _ in lines) == ["a/201.jpg", "b/100.png", "c/101.jpg"]
    assert all("can't be decoded" in fault for _, fault in lines)
    source = ImageFolder(damaged)
    places = {source.sample_name(index): index for index in range(IMAGES)}
    for view in (data, held):
        assert sum(view.card.class_counts) == len(view)
        for index in range(0, len(view), 9):
            place = places[view.name(index)]
            assert view.labels[index] == source.labels[place]
            if not view.compressed[index] and source.read(place).shape[1] <= 50:
                np.testing.assert_array_equal(view.image(index), source.read(place))
        assert verify(view.path).sound
    before = contents(out.parent)
    convert(ImageFolder(damaged), out, replace(OPTIONS, skip_corrupt=True, overwrite=True, workers=1))
    assert contents(out.parent) == before


def test_one_that_stopped_at_a_corrupt_image_goes_on_without_it(
    converter: Converter, damaged: Path, tmp_path: Path
) -> None:
    out, fresh = tmp_path / "out" / "x.beton", tmp_path / "fresh" / "x.beton"
    assert run(converter, damaged, out) == 2
    line = converter.said().splitlines()[-1]
    assert "a/201.jpg" in line
    assert "must be a whole" in line
    assert "mend or remove it, or leave such images out by --skip-corrupt" in line
    with pytest.raises(CorruptSampleError):
        go_on(damaged, out)
    skipping = replace(OPTIONS, skip_corrupt=True)
    assert go_on(damaged, out, skipping) > 0
    convert(ImageFolder(damaged), fresh, skipping)
    assert contents(out.parent) == contents(fresh.parent)


def test_one_that_left_images_out_does_not_go_on_with_them(
    converter: Converter, damaged: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "x.beton"
    assert run(converter, damaged, out, "fsync", 1, {"skip_corrupt": True}) == -signal.SIGKILL
    with pytest.raises(CorruptSampleError, match=r"(201|100|101)\.\w+ .*must be a whole"):
        convert(ImageFolder(damaged), out, OPTIONS)
    assert not out.exists()


def test_a_list_of_an_earlier_set_does_not_stay(folder: Path, damaged: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "x.beton"
    options = replace(OPTIONS, validation=0.0, skip_corrupt=True)
    convert(ImageFolder(damaged), out, options)
    assert skipped_path(out).exists()
    convert(ImageFolder(folder), out, replace(options, overwrite=True))
    assert not skipped_path(out).exists()


def test_a_source_that_is_all_corrupt_is_one_line(tmp_path: Path) -> None:
    for name in "ab":
        path = tmp_path / "set" / name / "x.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="must hold at least 1 image; all 2 images of image folder set"):
        convert(ImageFolder(tmp_path / "set"), tmp_path / "x.beton", ConvertOptions(skip_corrupt=True))
    assert sorted(contents_of_files(tmp_path)) == []


def contents_of_files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_file()]
