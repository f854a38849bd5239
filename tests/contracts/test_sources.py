"""Contract suite of sources, over the whole table."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from source_layouts import FILES, LAYOUTS, SAMPLES, image_folder

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.errors import DataError
from pipeline.formats import open_dataset
from pipeline.sources import SHARDED, SOURCES, Source, open_source


def test_every_named_source_is_tried_here() -> None:
    assert LAYOUTS.keys() == SOURCES.keys()
    assert len(FILES) == len(SHARDED) + 4


@pytest.fixture(params=[*SOURCES, "image_folder", *FILES])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Source]:
    """Open a split of one source, laid out in a data directory of its own."""
    if request.param == "image_folder":
        image_folder(tmp_path)
        return lambda split: open_source(str(tmp_path / "folder"), split=split)
    if request.param in FILES:
        text = FILES[request.param](tmp_path)
        return lambda split: open_source(text, split=split)
    LAYOUTS[request.param](tmp_path)
    return lambda split: open_source(request.param, split=split, data_dir=tmp_path)


@pytest.mark.parametrize("split", ["train", "test"])
def test_its_parts_fit_together(opened: Callable[[str], Source], split: str) -> None:
    source = opened(split)
    assert source.split == split
    assert source.name
    assert source.origin
    assert str(Path.cwd().anchor + "tmp") not in source.origin
    assert len(source) == len(source.labels) >= SAMPLES
    assert source.labels.dtype == np.int64
    assert 0 <= source.labels.min() <= source.labels.max() < len(source.classes)
    assert len(set(source.classes)) == len(source.classes)
    assert len({source.sample_name(index) for index in range(len(source))}) == len(source)
    assert all("\0" not in source.sample_name(index) for index in range(len(source)))


def test_images_are_rgb_and_the_callers_own(opened: Callable[[str], Source]) -> None:
    source = opened("train")
    for index in range(len(source)):
        image = source.read(index)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert image.flags.c_contiguous
        before = image.copy()
        image[:] = 0
        np.testing.assert_array_equal(before, source.read(index))


def test_an_encoded_image_decodes_to_what_is_read(opened: Callable[[str], Source]) -> None:
    source = opened("train")
    for index in range(len(source)):
        encoded = source.encoded(index)
        if encoded is not None:
            with Image.open(io.BytesIO(encoded)) as image:
                assert image.format == "JPEG"
                np.testing.assert_array_equal(np.array(image.convert("RGB")), source.read(index))


def test_threads_read_what_one_reads(opened: Callable[[str], Source]) -> None:
    source = opened("train")
    alone = [source.read(index) for index in range(len(source))]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(source.read, range(len(source))), strict=True):
            np.testing.assert_array_equal(one, other)


def test_splits_share_their_classes_and_not_their_images(opened: Callable[[str], Source]) -> None:
    train, test = opened("train"), opened("test")
    assert train.classes == test.classes
    assert train.name == test.name
    assert train.origin != test.origin


def test_an_unknown_split_lists_those_that_are(opened: Callable[[str], Source]) -> None:
    with pytest.raises(DataError, match=r"train.*test|test.*train") as caught:
        opened("middle")
    assert "middle" in str(caught.value)


def test_a_fingerprint_is_the_same_every_time_and_another_for_other_images(
    opened: Callable[[str], Source],
) -> None:
    assert opened("train").fingerprint() == opened("train").fingerprint()
    assert opened("train").fingerprint() != opened("test").fingerprint()


def test_it_converts(opened: Callable[[str], Source], tmp_path: Path) -> None:
    source = opened("train")
    convert(source, tmp_path / "x.beton", ConvertOptions(encoding="raw"))
    data = open_dataset(tmp_path / "x.beton")
    assert data.labels.tolist() == source.labels.tolist()
    for index in range(len(source)):
        np.testing.assert_array_equal(data.image(index), source.read(index))
        assert data.name(index) == source.sample_name(index)


@pytest.mark.parametrize("name", SOURCES)
def test_a_missing_named_source_says_where_it_looked_and_what_to_do(name: str, tmp_path: Path) -> None:
    # Fashion-MNIST is also looked for in the folder of a package, which may be installed here.
    source = SOURCES[name]() if name != "fashion_mnist" else SOURCES[name](package=tmp_path / "none")  # type: ignore[call-arg]
    remedy = "or give --download" if source.remotes("train") else "get them from "
    with pytest.raises(DataError, match=rf"must be on disk; looked for .*: put them there, {remedy}") as e:
        source.open("train", tmp_path)
    assert source.published in str(e.value)
    for place in source.locations("train", tmp_path):
        assert str(place) in str(e.value)
    assert f"{tmp_path / name}/train/CLASS/IMAGE" in str(e.value)
    assert "\n" not in str(e.value)
