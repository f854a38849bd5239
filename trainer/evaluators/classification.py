"""Accuracy and loss of a classifier on a data set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from pipeline.targets import LABEL, TargetKind
from trainer.errors import RunError
from trainer.evaluators.protocol import EvaluatorContext, Reads
from trainer.inference.averaged import Averaged, Copies
from trainer.inference.predict import EverySample, predict
from trainer.interrupt import Stopped
from trainer.metrics import PERCENT, Metric


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of a classifier's correct predictions over a whole data set.

    Attributes
    ----------
    loss
        Mean cross-entropy, in nats.
    hits, counts
        int64[classes], correct and evaluated samples of each class, over all ranks.
    """

    loss: float
    hits: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy, in [0, 1]."""
        return int(self.hits.sum()) / int(self.counts.sum())

    def apart(self, classes: Collection[int]) -> tuple[float | None, float | None]:
        """Return the accuracy on ``classes``, and on all others; None if there are no such samples."""
        inside = np.isin(np.arange(len(self.counts)), list(classes))
        sums = [(int(self.hits[part].sum()), int(self.counts[part].sum())) for part in (inside, ~inside)]
        ours, others = (hits / count if count else None for hits, count in sums)
        return ours, others


@dataclass(frozen=True, slots=True)
class ClassificationEvaluator:
    """Evaluates a classifier on every image once."""

    context: EvaluatorContext
    copies: Copies = "none"
    unsure: float = 1.0

    @property
    def images(self) -> int:
        """The size of the set."""
        return len(self.context.dataset)

    def run(self, encoder: nn.Module, asked: Callable[[], bool]) -> Iterator[tuple[str, float]]:
        """Yield accuracy and loss; if some classes are multiplied, also the accuracies of both groups."""
        counts = self.count(encoder, asked)
        yield "accuracy", counts.accuracy
        yield "loss", counts.loss
        if self.context.multiplied is not None:
            names = ("accuracy_multiplied", "accuracy_others")
            for name, value in zip(names, counts.apart(self.context.multiplied), strict=True):
                if value is not None:
                    yield name, value

    def count(self, encoder: nn.Module, asked: Callable[[], bool]) -> Counts:
        """Return correct predictions per class over all ranks, each on its part.

        Raises
        ------
        Stopped
            When it was asked to.
        """
        context, loader = self.context, self.context.test
        classes = len(context.dataset.card.classes)
        # Counts in float64, exact up to 2**53, so that one all-reduce sums them together with the loss.
        sums = torch.zeros(1 + 2 * classes, dtype=torch.float64, device=loader.device)
        order = EverySample(len(context.dataset))
        network = encoder if self.copies == "none" else Averaged(encoder, self.copies, self.unsure)
        for batch, outputs in predict(network, loader, context.view, order, bf16=context.bf16):
            labels = batch.targets["label"]
            right = (outputs.argmax(dim=1) == labels).double()
            sums[0] += F.cross_entropy(outputs, labels, reduction="sum")
            sums.index_add_(0, 1 + labels, right)
            sums.index_add_(0, 1 + classes + labels, torch.ones_like(right))
            if asked():
                raise Stopped
        loss, *counted = context.world.sum(sums).tolist()
        hits, counts = np.array(counted, np.int64).reshape(2, classes)
        return Counts(loss=loss / int(counts.sum()), hits=hits, counts=counts)


@dataclass(frozen=True)
class Classification:
    """Accuracy (top-1) and mean cross-entropy on the test set.

    If some classes are multiplied, the accuracies of their samples and of the others are added.
    """

    tta: Copies = "none"
    """Test-time augmentation. mirror: average the outputs of each image and its mirror image.
    mirror_translate: also of both shifted by a pixel, to two sides (Jordan 2024)."""

    unsure: float = 1.0
    """Fraction of each batch to augment, of the images whose two highest outputs are closest; the others are
    shown once."""

    def __post_init__(self) -> None:
        if not 0 < self.unsure <= 1:
            raise RunError(f"evaluator.unsure must be above 0 and at most 1; got {self.unsure:g}")
        if self.unsure < 1 and self.tta == "none":
            raise RunError("evaluator.unsure is about test-time augmentation, and tta is none: add it")

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", "accuracy", higher_is_better=True, unit=PERCENT),
        Metric("loss", "test loss", higher_is_better=False, unit="nats"),
        Metric(
            "accuracy_multiplied",
            "accuracy of multiplied classes",
            higher_is_better=True,
            unit=PERCENT,
            part_of="accuracy",
        ),
        Metric(
            "accuracy_others",
            "accuracy of other classes",
            higher_is_better=True,
            unit=PERCENT,
            part_of="accuracy",
        ),
    )
    targets: ClassVar[Mapping[str, TargetKind]] = {LABEL: "class"}
    reads: ClassVar[Reads] = "outputs"

    def build(self, context: EvaluatorContext) -> ClassificationEvaluator:
        """Return the evaluator."""
        return ClassificationEvaluator(context, self.tta, self.unsure)
