"""Accuracy and loss of a model on a data set."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from pipeline import Loader
from trainer.inference.predict import EverySample, View, predict
from trainer.interrupt import Stopped
from trainer.parallel import World


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model's score on a whole data set.

    Attributes
    ----------
    loss
        Mean cross-entropy, in nats.
    hits, counts
        int64[classes], samples of each class that were right, and that were evaluated, over all ranks.
    """

    loss: float
    hits: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def samples(self) -> int:
        """Samples evaluated, over all ranks."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        """Top-1, in [0, 1]."""
        return int(self.hits.sum()) / self.samples

    def apart(self, classes: Collection[int]) -> tuple[float | None, float | None]:
        """Top-1 of the samples of ``classes``, and of all others; None where there are no such samples."""
        inside = np.isin(np.arange(len(self.counts)), list(classes))
        sums = [(int(self.hits[part].sum()), int(self.counts[part].sum())) for part in (inside, ~inside)]
        ours, others = (hits / count if count else None for hits, count in sums)
        return ours, others


def evaluate(
    model: nn.Module,
    loader: Loader,
    view: View,
    *,
    classes: int,
    bf16: bool,
    world: World,
    asked: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Evaluate ``model`` on all samples of ``loader``'s set, each rank on its part.

    Parameters
    ----------
    view
        How the images are shown.
    classes
        Number of classes that labels count.
    asked
        Whether to stop, looked at after each batch; the same on every rank.

    Raises
    ------
    Stopped
        When it was asked to; the evaluation may be made again as if it had not begun.
    """
    world.share_buffers(model)
    # Counts in float64, exact up to 2**53, so that one sum over ranks brings them together with the loss.
    sums = torch.zeros(1 + 2 * classes, dtype=torch.float64, device=loader.device)
    for batch, outputs in predict(model, loader, view, EverySample(len(loader.dataset)), bf16=bf16):
        labels = batch.targets["label"]
        right = (outputs.argmax(dim=1) == labels).double()
        sums[0] += F.cross_entropy(outputs, labels, reduction="sum")
        sums.index_add_(0, 1 + labels, right)
        sums.index_add_(0, 1 + classes + labels, torch.ones_like(right))
        if asked():
            raise Stopped
    loss, *counted = world.sum(sums).tolist()
    hits, counts = np.array(counted, np.int64).reshape(2, classes)
    return Evaluation(loss=loss / int(counts.sum()), hits=hits, counts=counts)
