"""Forward passes: in the run's precision, and over whole orders without training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import Augmentation, Batch, Loader
from pipeline.loading.loader import OrderLike
from pipeline.resolution import Stage
from trainer.hardware.precision import at_least_float32, autocast
from trainer.models import check_encoder


def forward(model: nn.Module, images: Tensor, bf16: bool) -> Tensor:
    """Return the outputs of ``model`` for a batch, under bf16 autocast if requested."""
    with autocast(images.device, bf16):
        outputs: Tensor = model(images)
    return outputs


class PreLogits(nn.Module):
    """A network up to the inputs of its classifier.

    Raises
    ------
    RunError
        When the network lacks an encoder's methods.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = network.training
        self._encoder = (check_encoder(network),)

    def forward(self, images: Tensor) -> Tensor:
        """Return features [n, d] of images [n, 3, H, W]."""
        (encoder,) = self._encoder
        return encoder.forward_head(encoder.forward_features(images), pre_logits=True)


@dataclass(frozen=True, slots=True)
class EverySample:
    """The order with each of ``samples`` ids once, ascending."""

    samples: int
    round: int = 0
    weights: None = None

    @property
    def ids(self) -> NDArray[np.int64]:
        """int64[samples]: 0, 1, 2, ..."""
        return np.arange(self.samples, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class View:
    """How images are prepared without training: normalized, whole or center-cropped, at one resolution.

    Attributes
    ----------
    augmentation
        An augmentation without random parts.
    stage
        The resolution.
    """

    augmentation: Augmentation
    stage: Stage


@torch.no_grad()
def predict(
    model: nn.Module, loader: Loader, view: View, order: OrderLike, *, bf16: bool
) -> Iterator[tuple[Batch, Tensor]]:
    """Run ``model`` on an order's images, without random augmentation and without training.

    In evaluation mode, so that batch-normalization statistics don't change; the model's mode is restored
    afterwards.

    Parameters
    ----------
    view
        Augmentation and stage of the images.

    Yields
    ------
    Each batch and its outputs float32[n, classes], on the device.
    """
    training = model.training
    model.eval()
    try:
        for batch in loader.batches(order, augment=view.augmentation, stage=view.stage):
            yield batch, at_least_float32(forward(model, batch.images, bf16))
    finally:
        model.train(training)
