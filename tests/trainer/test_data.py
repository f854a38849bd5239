"""What ``--data`` takes for a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.config import Run
from trainer.data import open_data
from trainer.errors import RunError
from trainer.parallel import World


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
