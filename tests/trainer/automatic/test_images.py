"""Images without a recipe: what names them, and what they are trained and evaluated on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import open_source
from trainer.automatic.facts import Machine, Wish
from trainer.automatic.images import chosen, find, machine_of, prepare, prospect
from trainer.data import VALIDATION, open_data
from trainer.errors import RunError
from trainer.parallel import World

MACHINE = Machine(8 << 30)


def draw(folder: Path, count: int, size: int = 20) -> None:
    """Write images of two classes."""
    rng = np.random.default_rng(0)
    for name in ("left", "right"):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(
                folder / name / f"{index}.png"
            )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def follow(text: str, data: Path) -> tuple[int, int, str | None, list[str]]:
    """Return the number of images to train and to evaluate on, ``test_data``, and the lines told."""
    told: list[str] = []
    found = find(text, data)
    assert found is not None
    early = prospect(found, MACHINE, Wish())
    prepare(found, MACHINE, lambda name, done, total: None, told.append)
    run, choices = chosen(found, MACHINE, Wish())
    assert {choice.setting for choice in choices} >= {"model", "epochs", "engine"}
    assert (early.model, early.resolution) == (run.model, run.resolution)
    opened = open_data(run, World(), lambda name, done, total: None)
    return len(opened.train), len(opened.test), run.test_data, told


def test_a_folder_without_a_test_set_holds_some_of_it_out(tmp_path: Path, data: Path) -> None:
    draw(tmp_path / "pets", 20)
    train, test, named, told = follow(str(tmp_path / "pets"), data)
    assert (train, test, named) == (32, 8, VALIDATION)
    assert "20% of every class held out" in " ".join(told)
    assert follow(str(tmp_path / "pets"), data) == (32, 8, VALIDATION, [])


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_folder_with_a_test_set_is_evaluated_on_it(tmp_path: Path, data: Path, split: str) -> None:
    draw(tmp_path / "pets" / "train", 12)
    draw(tmp_path / "pets" / split, 3)
    assert follow(str(tmp_path / "pets"), data)[:3] == (24, 6, None)
    # What a killed conversion left undone is made up for.
    for name in ("test.beton", "test.card.json"):
        (data / "pets" / name).unlink()
    assert follow(str(tmp_path / "pets"), data)[:3] == (24, 6, None)


def test_a_set_in_the_data_directory_goes_by_its_name(data: Path) -> None:
    draw(data / "pets", 20)
    assert follow("pets", data)[:3] == (32, 8, VALIDATION)


def test_an_archive_is_converted(tmp_path: Path, data: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
    np.savez(tmp_path / "cells.npz", images=images, labels=np.arange(40) % 2)
    assert follow(str(tmp_path / "cells.npz"), data)[:3] == (32, 8, VALIDATION)


def test_a_converted_set_is_taken_as_it_is(tmp_path: Path, data: Path) -> None:
    draw(tmp_path / "pets", 20)
    out = tmp_path / "mine" / "all.beton"
    out.parent.mkdir()
    convert(open_source(str(tmp_path / "pets")), out, ConvertOptions(validation=0.25))
    assert follow(str(out), data) == (30, 10, VALIDATION, [])
    found = find(str(out), data)
    assert found is not None
    assert found.name == "all"


def test_other_images_of_the_same_name_are_refused(tmp_path: Path, data: Path) -> None:
    draw(tmp_path / "a" / "pets", 20)
    draw(tmp_path / "b" / "pets", 30)
    follow(str(tmp_path / "a" / "pets"), data)
    with pytest.raises(
        RunError, match=r"must hold the images of \S+; it has 40 in 2 classes, and there are 60"
    ):
        follow(str(tmp_path / "b" / "pets"), data)


def test_what_is_neither_names_nothing(tmp_path: Path, data: Path) -> None:
    assert find("pets", data) is None
    assert find(f"nothing{os.sep}here", data) is None


def test_this_machine_is_described() -> None:
    machine = machine_of("cpu")
    assert machine.gpu is None
    assert machine.memory > 0
    assert "resident" in machine.engines
    with pytest.raises(RunError, match="device must be"):
        machine_of("tpu")
