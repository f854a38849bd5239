"""Fixtures of the commands: photographs in folders, and runs trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import open_source
from tools.cli import main

CLASSES = ("dark", "light", "red")


@dataclass(frozen=True)
class Photographs:
    """Image files with splits and classes, and runs trained on them once they were converted.

    ``square`` holds raw squares of one size, ``varied`` JPEGs of any shape.
    """

    folder: Path
    square: Path
    varied: Path

    @property
    def test(self) -> list[Path]:
        return sorted(path for path in (self.folder / "test").rglob("*.*"))

    def data(self, run: Path) -> Path:
        return self.folder.parent / "data" / run.name / "test.beton"


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Photographs:
    place = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for split, images in (("train", 12), ("test", 7)):
        for label, name in enumerate(CLASSES):
            folder = place / "photographs" / split / name
            folder.mkdir(parents=True)
            for number in range(images):
                height, width = rng.integers(70, 100, 2)
                level = rng.integers(0, 120, (height // 8 + 1, width // 8 + 1, 3)) + (0, 100, 20)[label]
                level[:, :, 0] += 60 * (label == 2)
                picture = Image.fromarray(level.clip(0, 255).astype(np.uint8)).resize((width, height))
                picture.save(folder / f"{number}.{'png' if number % 3 == 0 else 'jpg'}")
    runs = {}
    for name, options, words in (
        ("square", ConvertOptions(square=32), ("--augment", "standard")),
        ("varied", ConvertOptions(), ("--augment", "random_resized_crop", "--resolution.pixels", "32")),
    ):
        for split in ("train", "test"):
            source = open_source(str(place / "photographs"), split=split)
            (place / "data" / name).mkdir(parents=True, exist_ok=True)
            convert(source, place / "data" / name / f"{split}.beton", options)
        data = ("--data", str(place / "data" / name / "train.beton"), "--runs-dir", str(place / "runs"))
        network = ("--model", "resnet8", "--model.width", "4", "--precision", "fp32", "--device", "cpu")
        length = (
            "--batch-size",
            "12",
            "--epochs",
            "4",
            "--budget",
            "1",
            "--threads",
            "1",
            "--log-every",
            "1",
        )
        assert main(["run", "fashion_mnist_cpu", *data, *network, *length, "--name", name, *words]) == 0
        runs[name] = place / "runs" / name
    return Photographs(place / "photographs", runs["square"], runs["varied"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image folder of 30 images with splits, a class with markup in its name, and a stray file."""
    for index in range(30):
        for split in ("train", "test"):
            path = tmp_path / "pets" / split / ("cat", "dog [bold]")[index % 2] / f"{index:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = np.random.default_rng(index).integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(image).save(path)
    (tmp_path / "pets" / "train" / "cat" / "notes.txt").touch()
    return tmp_path / "pets"
