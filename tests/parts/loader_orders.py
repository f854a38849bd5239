"""Orders, and augmentations that mix, for tests of the loader."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import Augmentation
from pipeline.augment.mixup import Mixup
from pipeline.augment.ricap import Ricap
from pipeline.augment.standard import Standard

MEAN, STD = (0.3,) * 3, (0.35,) * 3


@dataclass(frozen=True)
class Order:
    ids: NDArray[np.int64]
    round: int = 0
    weights: NDArray[np.float32] | None = None


def mixing() -> Augmentation:
    return Augmentation([Standard(), Ricap(), Mixup(per_sample=True)], MEAN, STD)


def random_order(count: int, samples: int, round_: int = 0) -> Order:
    return Order(np.random.default_rng(count).integers(0, samples, count), round_)
