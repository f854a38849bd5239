"""Accuracy and loss of a model on a data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from pipeline import Chain, Loader
from trainer.parallel import World


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model scores on a whole data set.

    Attributes
    ----------
    accuracy
        Top-1, in [0, 1].
    loss
        Mean cross-entropy, in nats.
    samples
        How many were evaluated, over all ranks.
    """

    accuracy: float
    loss: float
    samples: int


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


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: Loader,
    chain: Chain,
    samples: int,
    *,
    bf16: bool,
    device: torch.device,
    world: World,
) -> Evaluation:
    """Evaluate ``model`` on all samples of ``loader``'s set, each rank on its slice.

    The model comes back in the mode it was in; its statistics are not touched.

    Parameters
    ----------
    chain
        Normalises only.
    samples
        Size of the set.
    """
    training = model.training
    model.eval()
    world.share_buffers(model)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    try:
        for raw in loader.batches(EverySample(samples)):
            batch = chain.apply(raw)
            labels = batch.labels[:, 0]
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                outputs = model(batch.images)
            loss = F.cross_entropy(outputs.float(), labels, reduction="sum")
            hits = (outputs.argmax(dim=1) == labels).sum()
            sums += torch.stack((hits.double(), loss.double(), torch.full_like(loss, len(labels)).double()))
    finally:
        model.train(training)
    hits, loss, count = world.sum(sums).tolist()
    return Evaluation(accuracy=hits / count, loss=loss / count, samples=int(count))
