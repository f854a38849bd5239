"""Pieces of a profile: a few samples as a set, and works that take turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.engines import ENGINES
from pipeline.formats import open_dataset
from tools.profiling.few import Few
from tools.profiling.timing import Alone, take_turns


@pytest.mark.parametrize("engine", ["resident", "ffcv"])
def test_few_samples_are_read_as_they_stand_in_the_set(fashion: Path, engine: str) -> None:
    if engine == "ffcv":
        pytest.importorskip("ffcv")
    data = open_dataset(fashion / "fashion_mnist" / "train.beton")
    ids = np.array([3, 700, 1279], dtype=np.int64)
    few = Few(data, ids)
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


def test_works_take_turns_and_short_ones_are_called_often() -> None:
    made: list[str] = []
    short = Alone("short", lambda: made.append("short"), 2.0, torch.device("cpu"))

    def other() -> dict[str, float]:
        made.append("other")
        return {"x": float(made.count("other")), "y": 1.0}

    medians = take_turns([short, other], 0.0)
    turns = [name for name, before in zip(made, ["", *made], strict=False) if name != before]
    assert turns == ["short", "other"] * 6
    assert made.count("short") > 6
    assert medians["x"] == 4
    assert medians["y"] == 1
    assert 0 < medians["short"] < 0.01
