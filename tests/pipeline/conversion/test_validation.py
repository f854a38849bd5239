"""Validation sets are split off class by class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from convertible import arrays, files
from image_files import noise

from pipeline.conversion.convert import ConvertOptions, convert, validation_path
from pipeline.errors import DataError
from pipeline.formats import open_dataset
from pipeline.formats.card import HeldOut
from pipeline.sources import ArraySource


def test_a_validation_set_is_split_off_class_by_class(clothes: ArraySource, tmp_path: Path) -> None:
    out = tmp_path / "f.beton"
    card = convert(clothes, out, ConvertOptions(validation=0.1, seed=5))
    train, held = open_dataset(out), open_dataset(tmp_path / "f-validation.beton")
    assert train.card == card
    counts = np.bincount(clothes.labels, minlength=10)
    assert held.card.class_counts == tuple(int(count * 0.1 + 0.5) for count in counts)
    np.testing.assert_array_equal(np.add(train.card.class_counts, held.card.class_counts), counts)
    names = [data.name(index) for data in (train, held) for index in range(len(data))]
    assert sorted(names) == sorted(clothes.sample_name(index) for index in range(2000))
    places = {clothes.sample_name(index): index for index in range(2000)}
    for data in (train, held):
        for index in range(0, len(data), 13):
            np.testing.assert_array_equal(data.image(index), clothes.images[places[data.name(index)]])
        pixels = clothes.images[[places[data.name(index)] for index in range(len(data))]] / 255
        np.testing.assert_allclose(data.card.mean, pixels.mean((0, 1, 2)), rtol=1e-9)
    assert train.card.held_out == HeldOut("training", 0.1, 5)
    assert held.card.held_out == HeldOut("validation", 0.1, 5)
    assert (train.card.split, held.card.split) == ("test", "validation")
    assert held.card.classes == clothes.classes


def test_a_validation_set_needs_two_images_of_a_class(tmp_path: Path) -> None:
    source = ArraySource("x", "train", "x", ("a", "b"), np.array([0, 1]), noise(0, 2, 4, 4, 3))
    with pytest.raises(DataError, match="a class of at least 2 images; x has 2 images"):
        convert(source, tmp_path / "x.beton", ConvertOptions(validation=0.5))
    assert files(tmp_path) == []


def test_an_earlier_validation_set_does_not_stay_beside_a_whole_set(tmp_path: Path) -> None:
    out = tmp_path / "x.beton"
    convert(arrays(), out, ConvertOptions(validation=0.5))
    with pytest.raises(DataError, match=r"x-validation.beton must not stay beside"):
        convert(arrays(), out, ConvertOptions(overwrite=True))
    convert(arrays(), out, ConvertOptions(overwrite=True, validation=0.25))
    assert open_dataset(validation_path(out)).card.held_out == HeldOut("validation", 0.25, 0)
