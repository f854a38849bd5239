"""Real data for every test: slices of Fashion-MNIST, converted once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.convert import ConvertOptions, convert
from pipeline.sources import ArraySource, open_source


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--long`, as `tools/test` has it."""
    parser.addoption("--long", action="store_true", help="run the tests marked `long`, too: minutes each")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked `long`, counted as deselected, unless `--long` asks for them."""
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture(autouse=True)
def _same_global_randomness() -> None:
    """Networks that a test makes have the same weights whatever tests ran before it, in any process."""
    torch.manual_seed(0)


def make_tiny(folder: Path, seed: int = 0) -> Path:
    """Convert 128 training and 48 test images of 8 x 8 noise in two classes; returns the training set."""
    rng = np.random.default_rng(seed)
    for split, samples in (("train", 128), ("test", 48)):
        images = rng.integers(0, 256, (samples, 8, 8, 3), dtype=np.uint8)
        sides = images.reshape(samples, 8, 2, 4, 3).mean(axis=(1, 3, 4))
        labels = sides.argmax(axis=1).astype(np.int64)
        source = ArraySource("tiny", split, "noise", ("left", "right"), labels, images)
        convert(source, folder / f"{split}.beton", ConvertOptions(overwrite=True))
    return folder / "train.beton"


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """Make, or make anew from another seed, the smallest set that runs train on: runs of a second."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    return lambda seed=0: make_tiny(folder, seed)


@pytest.fixture
def tiny_words(tiny: Callable[..., Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Make the command line of a run of 16 steps on the tiny set; further options override."""
    data = tiny()

    def words(*more: str) -> list[str]:
        places = ("--data", str(data), "--runs-dir", str(tmp_path / "runs"), "--name", "x", "--device", "cpu")
        network = ("--model", "resnet8", "--model.width", "4", "--batch-size", "16", "--precision", "fp32")
        length = ("--epochs", "4", "--budget", "0.5", "--log-every", "1", "--evaluate-every", "2")
        return ["run", "fashion_mnist_cpu", *places, *network, *length, *more]

    return words


@pytest.fixture(scope="session")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose fashion_mnist holds 1,280 training and 512 test images, converted."""
    folder = tmp_path_factory.mktemp("data")
    for split, samples in (("train", 1280), ("test", 512)):
        source = open_source("fashion_mnist", split=split)
        path = folder / "fashion_mnist" / f"{split}.beton"
        path.parent.mkdir(exist_ok=True)
        images = np.stack([source.read(index) for index in range(samples)])
        some = ArraySource(source.name, split, source.origin, source.classes, source.labels[:samples], images)
        convert(some, path, ConvertOptions())
    return folder
