"""Forward passes: in the run's precision, and over whole orders without training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import Batch, Chain, Loader
from pipeline.loading.request import OrderLike
from pipeline.resolution import Stage
from trainer.errors import RunError
from trainer.precision import at_least_float32, autocast


def forward(model: nn.Module, images: Tensor, bf16: bool) -> Tensor:
    """Outputs of ``model`` for a batch, under bf16 autocast where asked for."""
    with autocast(images.device, bf16):
        outputs: Tensor = model(images)
    return outputs


def last_linear(model: nn.Module) -> nn.Linear:
    """Give the last linear layer, whose inputs are a network's features.

    Raises
    ------
    RunError
        When the network has none.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise RunError("a network must end in a linear layer to give features; this one has none")
    return linear[-1]


@dataclass(frozen=True, slots=True)
class EverySample:
    """The order that shows each of ``samples`` ids once, by number."""

    samples: int
    round: int = 0
    weights: None = None

    @property
    def ids(self) -> NDArray[np.int64]:
        """int64[samples]: 0, 1, 2, ..."""
        return np.arange(self.samples, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class View:
    """How images are shown without training: normalised, whole or their middle, at one resolution.

    Attributes
    ----------
    chain
        Without anything random.
    stage
        The resolution.
    """

    chain: Chain
    stage: Stage


@torch.no_grad()
def predict(
    model: nn.Module, loader: Loader, view: View, order: OrderLike, *, bf16: bool
) -> Iterator[tuple[Batch, Tensor]]:
    """Show ``model`` an order's images as they are, each with its own label, without training.

    In evaluation mode, so that batch-normalisation statistics are not touched; afterwards the model is back
    in the mode it was in.

    Parameters
    ----------
    view
        How the images are shown.

    Yields
    ------
    Each batch and its outputs float32[n, classes], on the device.
    """
    training = model.training
    model.eval()
    try:
        for raw in loader.batches(order, augment=view.chain, stage=view.stage):
            batch = view.chain.apply(raw)
            yield batch, at_least_float32(forward(model, batch.images, bf16))
    finally:
        model.train(training)
