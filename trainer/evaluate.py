"""Accuracy and loss of a model on a data set."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from pipeline import Loader
from trainer.forward import EverySample, View, predict
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


def evaluate(model: nn.Module, loader: Loader, view: View, *, bf16: bool, world: World) -> Evaluation:
    """Evaluate ``model`` on all samples of ``loader``'s set, each rank on its part.

    Parameters
    ----------
    view
        How the images are shown.
    """
    world.share_buffers(model)
    sums = torch.zeros(3, dtype=torch.float64, device=loader.device)
    for batch, outputs in predict(model, loader, view, EverySample(len(loader.dataset)), bf16=bf16):
        labels = batch.labels[:, 0]
        loss = F.cross_entropy(outputs, labels, reduction="sum").double()
        hits = (outputs.argmax(dim=1) == labels).sum().double()
        sums += torch.stack((hits, loss, torch.full_like(loss, len(labels))))
    hits, loss, count = world.sum(sums).tolist()
    return Evaluation(accuracy=hits / count, loss=loss / count, samples=int(count))
