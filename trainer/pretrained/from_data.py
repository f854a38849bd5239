"""Initial weights that a network computes from images of its training set."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import Loader
from pipeline.engines.resident import ResidentEngine
from pipeline.formats import Converted
from pipeline.multiplied import Multiplied
from pipeline.selected import Selected
from trainer.inference.predict import EverySample, View
from trainer.models import DataInitialized

_BATCH = 512

Batches = Callable[[int], Iterator[Tensor]]
"""Returns batches of so many training images, as evaluation would see them."""


def training_images(train: Converted, view: View, device: torch.device) -> Batches:
    """Return a reader of training images, which lie evenly over the set, the same for every rank and engine.

    They are read only when it is called; a multiplied set's are each read once.
    """

    def batches(count: int) -> Iterator[Tensor]:
        stored = train.dataset if isinstance(train, Multiplied) else train
        samples = min(count, len(stored))
        chosen = Selected(stored, np.arange(samples, dtype=np.int64) * len(stored) // samples)
        with Loader(chosen, engine=ResidentEngine(), batch_size=_BATCH, device=device) as loader:
            for batch in loader.batches(EverySample(samples), augment=view.augmentation, stage=view.stage):
                yield batch.images

    return batches


def begin_from_data(network: nn.Module, images: Batches) -> None:
    """Let a network compute initial weights from training images, where it has such weights."""
    if isinstance(network, DataInitialized):
        network.begin_from(images(network.beginning_images))
