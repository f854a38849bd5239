"""Targets of every kind go through every engine and the loader, from every format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline import ENGINES, EngineConfig, Loader, MissingExtraError, compose
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.formats import FORMATS, open_dataset
from pipeline.multiplied import Multiplied
from pipeline.sources import ArraySource
from pipeline.sources.protocol import no_labels
from pipeline.targets import LABEL, TargetKind

SAMPLES = 17
RNG = np.random.default_rng(2)
TARGETS: dict[TargetKind, tuple[tuple[str, ...], NDArray[Any]]] = {
    "class": (("a", "b"), RNG.integers(0, 2, SAMPLES)),
    "multi_label": (("x", "y", "z"), RNG.integers(0, 2, (SAMPLES, 3), np.uint8)),
    "value": ((), RNG.normal(size=(SAMPLES, 2)).astype(np.float32)),
    "none": ((), no_labels(SAMPLES)),
}


@dataclass(frozen=True)
class Order:
    ids: NDArray[np.int64]
    round: int = 0
    weights: NDArray[np.float32] | None = None


@pytest.mark.parametrize("engine", [part() for part in ENGINES.values()], ids=list(ENGINES))
@pytest.mark.parametrize("ending", list(FORMATS))
@pytest.mark.parametrize("kind", list(TARGETS))
def test_targets_follow_their_images(
    tmp_path: Path, kind: TargetKind, ending: str, engine: EngineConfig
) -> None:
    classes, labels = TARGETS[kind]
    images = np.arange(SAMPLES, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)
    source = ArraySource("x", "train", "x", classes, labels, images, kind=kind)
    convert(source, tmp_path / f"x.{ending}", ConvertOptions())
    data = Multiplied(open_dataset(tmp_path / f"x.{ending}"), 2)
    ids = np.random.default_rng(3).permutation(2 * SAMPLES)
    # The partners of a mixture are samples of the batch, so that their targets are at hand.
    mixing = compose(["mixup"], (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    try:
        loader = Loader(data, engine=engine, batch_size=5, device="cpu", augment=mixing)
    except MissingExtraError as error:
        pytest.skip(str(error))
    with loader:
        met = 0
        for raw in loader.raw_batches(Order(ids)):
            batch = raw.augment()
            rows = ids[met : met + len(batch)] % SAMPLES
            np.testing.assert_array_equal(raw.images[:, 0, 0, 0].numpy(), rows)
            if kind == "none":
                assert dict(batch.targets) == {}
            else:
                assert list(batch.targets) == [LABEL]
                target = batch.targets[LABEL]
                assert target.dtype == torch.from_numpy(labels).dtype
                np.testing.assert_array_equal(target.numpy(), labels[rows])
                assert batch.mixture is not None
                expected = labels[rows][batch.mixture.partners]
                np.testing.assert_array_equal(batch.constituents(target).numpy(), expected)
            met += len(batch)
        assert met == len(ids)
