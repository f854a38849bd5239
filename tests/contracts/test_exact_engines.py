"""Which engines' pixels are equal bit for bit: resident's and, where it is asked to be exact, ffcv's."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from photographs_on_disk import write
from PIL import Image

from pipeline import Loader, compose
from pipeline.crop import Crop, Windows
from pipeline.engines.ffcv import FfcvEngine
from pipeline.engines.resident import ResidentEngine
from pipeline.formats import Beton
from pipeline.resolution import Stage

CPU = torch.device("cpu")
KINDS = [
    {"subsampling": 0},
    {"subsampling": 1},
    {"subsampling": 2},
    {"subsampling": 2, "progressive": True},
    {"subsampling": 2, "restart_marker_rows": 1},
]


def picture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)
    return np.clip(smooth + rng.normal(0, 15, (height, width, 1)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Beton:
    """JPEGs of every kind and of different shapes, each fourth image raw."""
    path = tmp_path_factory.mktemp("photographs") / "train.beton"
    contents: list[bytes | NDArray[np.uint8]] = []
    for index in range(12):
        image, file = picture(index, 149 + 7 * index, 203 - 5 * index), io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=90, **KINDS[index % len(KINDS)])
        contents.append(image if index % 4 == 3 else file.getvalue())
    return write(path, contents)


def random_crop(data: Beton, ids: NDArray[np.int64], size: int) -> Crop:
    rng = np.random.default_rng(size)
    heights, widths = data.heights[ids], data.widths[ids]
    high, wide = rng.integers(1, heights + 1), rng.integers(1, widths + 1)
    top, left = rng.integers(0, heights - high + 1), rng.integers(0, widths - wide + 1)
    return Crop(Windows(top, left, high, wide, rng.random(len(ids)) < 0.5), size, size + 1)


@pytest.mark.parametrize("size", [4, 16, 60])
def test_exact_ffcv_crops_are_residents(photographs: Beton, size: int) -> None:
    ids = np.random.default_rng(size).integers(0, len(photographs), 200)
    crop = random_crop(photographs, ids, size)
    resident, exact, fast = (
        engine.open(photographs, CPU).read(ids, crop).to(torch.int64)
        for engine in (ResidentEngine(), FfcvEngine(threads=2, exact=True), FfcvEngine(threads=2))
    )
    assert torch.equal(exact, resident)
    # Otherwise the option would be for nothing, and the words about it untrue.
    assert 4 < (fast - resident).abs().max() <= 20


def test_batches_are_equal_at_every_stage_of_the_way(photographs: Beton) -> None:
    class Order:
        round = 0
        ids = np.arange(len(photographs))
        weights = None

    augment = compose(["random_resized_crop"], photographs.card.mean, photographs.card.std)
    images = []
    for engine in (ResidentEngine(), FfcvEngine(exact=True), FfcvEngine()):
        with Loader(photographs, engine=engine, batch_size=5, augment=augment, device="cpu") as loader:
            batches = loader.batches(Order(), stage=Stage(32))
            images.append(torch.cat([batch.images for batch in batches]))
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])
