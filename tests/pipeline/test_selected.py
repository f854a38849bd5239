"""Some samples of a data set as a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.engines import ENGINES
from pipeline.formats import open_dataset
from pipeline.selected import Selected


@pytest.mark.parametrize("engine", ["resident", "ffcv"])
def test_few_samples_are_read_as_they_stand_in_the_set(fashion: Path, engine: str) -> None:
    if engine == "ffcv":
        pytest.importorskip("ffcv")
    data = open_dataset(fashion / "fashion_mnist" / "train.beton")
    ids = np.array([3, 700, 1279], dtype=np.int64)
    few = Selected(data, ids)
    reader = ENGINES[engine]().open(few, torch.device("cpu"))
    try:
        read = reader.read(np.array([2, 0, 1], dtype=np.int64))
    finally:
        reader.close()
    expected = np.stack([data.image(int(index)) for index in ids[[2, 0, 1]]])
    assert (read.permute(0, 2, 3, 1).numpy() == expected).all()
    assert len(few) == 3
    assert few.name(1) == data.name(700)
    assert (few.image(2) == data.image(1279)).all()


def test_counts_are_those_of_the_view(fashion: Path) -> None:
    data = open_dataset(fashion / "fashion_mnist" / "train.beton")
    ids = np.flatnonzero(data.labels < 3)[::2]
    view = Selected(data, ids)
    assert view.card.samples == len(view) == len(ids)
    assert view.card.class_counts == tuple(np.bincount(view.labels, minlength=10).tolist())
    assert sum(view.card.class_counts) == len(ids)
    assert view.card.class_counts[3:] == (0,) * 7
    assert (view.card.mean, view.card.digest) == (data.card.mean, data.card.digest)
