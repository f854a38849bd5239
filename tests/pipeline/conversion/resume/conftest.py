"""Images, their whole conversion, and one that was killed half-way."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from killed_conversions import IMAGES, OPTIONS, Converter, contents, run_until
from PIL import Image

from pipeline.conversion.convert import convert
from pipeline.sources import ImageFolder


@pytest.fixture(scope="session")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Converter]:
    with (tmp_path_factory.mktemp("said") / "errors").open("w") as errors:
        started = Converter(errors)
        yield started
        with started.process as process:
            assert process.stdin is not None
            process.stdin.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of several sizes in three classes, some of them JPEGs."""
    root = tmp_path_factory.mktemp("source") / "set"
    for index in range(IMAGES):
        path = root / "abc"[index % 3] / f"{index:03}.{('png', 'jpg')[index % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (20 + index % 30, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope="session")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a conversion that ran through, by name."""
    out = tmp_path_factory.mktemp("whole") / "x.beton"
    convert(ImageFolder(folder), out, OPTIONS)
    return contents(out.parent)


@pytest.fixture(scope="session")
def stopped(converter: Converter, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a conversion was killed after some images."""
    out = tmp_path_factory.mktemp("stopped") / "x.beton"
    assert run_until(converter, folder, out, 8_000, workers=1) == -signal.SIGKILL
    return out.parent
