"""Converted sets, and some of their samples, as sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import DataError, open_dataset
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources.sampled import Sampled
from pipeline.sources.stored import StoredSource


def test_a_set_converted_again_is_the_same(tiny: Callable[..., Path], tmp_path: Path) -> None:
    data = open_dataset(tiny())
    convert(StoredSource(data), tmp_path / "again.beton", ConvertOptions())
    again = open_dataset(tmp_path / "again.beton")
    assert again.card.digest == data.card.digest
    assert (again.card.name, again.card.classes, again.card.source) == ("tiny", ("left", "right"), "noise")


def test_some_samples_are_drawn_class_by_class_with_a_validation_set(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    data = open_dataset(tiny())
    some = Sampled(StoredSource(data), 32, seed=3)
    counts = np.bincount(data.labels) / len(data.labels)
    assert abs(np.bincount(some.labels) - 32 * counts).max() <= 1
    assert "drawn by seed 3" in some.origin
    convert(some, tmp_path / "train.beton", ConvertOptions(validation=0.5, seed=3))
    kept, held = (open_dataset(tmp_path / name) for name in ("train.beton", "train-validation.beton"))
    images = {data.image(index).tobytes() for index in range(len(data))}
    parts = [{part.image(index).tobytes() for index in range(len(part))} for part in (kept, held)]
    assert parts[0] | parts[1] <= images
    assert not parts[0] & parts[1]
    assert len(kept) + len(held) == len(some)


def test_more_samples_than_there_are_are_refused(tiny: Callable[..., Path]) -> None:
    source = StoredSource(open_dataset(tiny()))
    assert len(Sampled(source, 128, 0)) == 128
    with pytest.raises(DataError, match="at most the 128 of noise; got 129"):
        Sampled(source, 129, 0)
