"""Real data for every test: slices of Fashion-MNIST, converted once a session."""

from __future__ import annotations

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
