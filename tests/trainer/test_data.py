"""What ``--data`` takes for a set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from samplers import SamplingError, Scores
from trainer.build import build
from trainer.config import Run
from trainer.data import digest, open_data
from trainer.errors import RunError
from trainer.parallel import World
from trainer.run_folder import RunFolder


def test_a_folder_that_is_no_set_is_refused_and_not_gone_through(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("music/x/1.png", "photos/1.png"):
        (home / name).parent.mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(home / name)
    # Going through it would find a class whose name is refused.
    (home / "\udcff").mkdir()
    for data, data_dir in ((str(home), None), ("home", tmp_path), (".", home)):
        with pytest.raises(
            RunError, match=r"home holds no train: convert it with `trainer convert "
        ) as caught:
            open_data(Run(data=data, data_dir=data_dir), World(), lambda *_: None)
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in home.iterdir()) == ["music", "photos", "\udcff"]


def test_a_folder_with_splits_is_converted(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            path = tmp_path / "pets" / split / name / "1.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    data = open_data(Run(data="pets", data_dir=tmp_path, batch_size=2), World(), lambda *_: None)
    assert data.train.card.classes == data.test.card.classes == ("cat", "dog")


def test_a_scores_file_knows_a_multiplied_set_by_what_is_multiplied(recipe: Callable[..., Run]) -> None:
    def told(**entries: Any) -> str | None:
        return digest(open_data(recipe(**entries), World(), lambda *_: None).train)

    some = {"multiply": 2, "multiply_classes": 0.2}
    found = [told(), told(multiply=2), told(multiply=3), told(**some, multiply_seed=1), told(**some)]
    assert found[0] == open_data(recipe(), World(), lambda *_: None).train.card.digest
    assert len(set(found)) == 5
    assert told(**some) == found[-1]


def test_scores_of_another_set_are_refused_unless_accepted(
    recipe: Callable[..., Run], tmp_path: Path
) -> None:
    path = tmp_path / "scores.npz"
    Scores(np.arange(1280, dtype=np.float32), "el2n", {"data_sha256": "of another"}).save(path)

    def prepare(**entries: Any) -> None:
        run = recipe(sampler={"name": "subset", "scores": str(path)}, **entries)
        data = open_data(run, World(), lambda *_: None)
        build(run, RunFolder(tmp_path, run), data, World(), torch.device("cpu")).close()

    with pytest.raises(SamplingError, match=r"of this training set, .*use it anyway with --accept"):
        prepare()
    prepare(accept_changed_data=True)
