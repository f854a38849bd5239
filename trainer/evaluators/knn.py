"""Accuracy of a classifier by nearest neighbors among the training set's features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import Loader
from pipeline.multiplied import Multiplied
from pipeline.targets import LABEL, TargetKind
from samplers import Order
from trainer.errors import RunError
from trainer.evaluators.protocol import EvaluatorContext, Reads
from trainer.inference.predict import PreLogits, predict
from trainer.interrupt import Stopped
from trainer.metrics import PERCENT, Metric

_BLOCK = 1 << 13
"""Training images that are compared at a time."""
_CELLS = 1 << 23
"""Similarities that are held at a time, which bounds the memory whatever the sets' sizes."""


class Neighbors:
    """The k nearest of training features to each of n queries, as features of the training set come in.

    Only the queries and their neighbors so far are kept: at 50,000 queries of 2,048 dimensions and k = 200
    some 0.7 GB, however large the training set.

    Parameters
    ----------
    queries
        float[n, d] of length 1.
    k
        Number of neighbors.
    """

    def __init__(self, queries: Tensor, k: int) -> None:
        self.queries = queries
        self.similarities = queries.new_full((len(queries), k), -torch.inf)
        self.labels = torch.zeros((len(queries), k), dtype=torch.int32, device=queries.device)

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Take in training features, float[m, d] of length 1, and their labels, int[m]."""
        labels = labels.to(torch.int32)
        rows = max(1, _CELLS // len(features))
        for start in range(0, len(self.queries), rows):
            part = slice(start, start + rows)
            similarities = self.queries[part] @ features.T
            theirs = labels.expand(len(similarities), -1)
            self._keep(part, similarities, theirs)

    def merge(self, similarities: Tensor, labels: Tensor) -> None:
        """Take in another rank's neighbors, [n, k] each."""
        rows = max(1, _CELLS // similarities.shape[1])
        for start in range(0, len(self.queries), rows):
            part = slice(start, start + rows)
            self._keep(part, similarities[part], labels[part])

    def _keep(self, part: slice, similarities: Tensor, labels: Tensor) -> None:
        both = torch.cat((self.similarities[part], similarities), dim=1)
        self.similarities[part], nearest = both.topk(self.similarities.shape[1], dim=1)
        self.labels[part] = torch.cat((self.labels[part], labels), dim=1).gather(1, nearest)

    def vote(self, classes: int, temperature: float) -> Tensor:
        """Return the class with most votes for each query, int64[n]: a neighbor has exp(similarity / T)."""
        found = []
        rows = max(1, _CELLS // classes)
        for start in range(0, len(self.queries), rows):
            part = slice(start, start + rows)
            # Relative to the nearest, so that nothing overflows.
            nearest = self.similarities[part].amax(dim=1, keepdim=True)
            weights = ((self.similarities[part] - nearest) / temperature).exp()
            votes = weights.new_zeros((len(weights), classes))
            votes.scatter_add_(1, self.labels[part].long(), weights)
            found.append(votes.argmax(dim=1))
        return torch.cat(found)


@dataclass(frozen=True, slots=True)
class KnnEvaluator:
    """Shows a network every test image once, and then every training image."""

    config: Knn
    context: EvaluatorContext

    @property
    def images(self) -> int:
        """The sizes of both sets."""
        return len(self.context.dataset) + len(self._bank())

    def run(self, encoder: nn.Module, asked: Callable[[], bool]) -> Iterator[tuple[str, float]]:
        """Yield the accuracy of the neighbors' votes."""
        context, config = self.context, self.config
        test = np.arange(len(context.dataset))
        mine = list(self._features(encoder, context.test, test, asked))
        parts = context.world.gather(tuple(torch.cat(column) for column in zip(*mine, strict=True)))
        device = context.test.device
        queries, labels = (torch.cat([part[i].to(device) for part in parts]) for i in range(2))
        neighbors = Neighbors(queries, config.k)
        features: list[Tensor] = []
        theirs: list[Tensor] = []
        for of_batch, of_labels in self._features(encoder, context.train, self._bank(), asked):
            features.append(of_batch)
            theirs.append(of_labels)
            if sum(map(len, features)) >= _BLOCK:
                neighbors.add(torch.cat(features), torch.cat(theirs))
                features, theirs = [], []
        if features:
            neighbors.add(torch.cat(features), torch.cat(theirs))
        if context.world.size > 1:
            found = context.world.gather((neighbors.similarities, neighbors.labels))
            for rank, (similarities, near) in enumerate(found):
                if rank != context.world.rank:
                    neighbors.merge(similarities.to(device), near.to(device))
        guesses = neighbors.vote(len(context.dataset.card.classes), config.temperature)
        yield "knn_accuracy", int((guesses == labels).sum()) / len(labels)

    def _bank(self) -> NDArray[np.int64]:
        """Return the ids of the training images, each once."""
        dataset = self.context.train.dataset
        if isinstance(dataset, Multiplied):
            return np.flatnonzero(dataset.copies == 0)
        return np.arange(len(dataset))

    def _features(
        self, encoder: nn.Module, loader: Loader, ids: NDArray[np.int64], asked: Callable[[], bool]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield features of length 1 and labels of this rank's part of ``ids``, batch by batch."""
        context, order = self.context, Order(round=0, ids=ids)
        for batch, outputs in predict(PreLogits(encoder), loader, context.view, order, bf16=context.bf16):
            yield F.normalize(outputs, dim=1), batch.targets[LABEL]
            if asked():
                raise Stopped


@dataclass(frozen=True)
class Knn:
    """kNN accuracy: test images classified by their nearest training images in the space of features.

    Wu et al. (2018): the k training images of the highest cosine similarity s vote for their classes by
    exp(s / T). Features are those that a classifier would read, of whole or centrally cropped images. This
    measures features without training anything, so it is the metric of self-supervised methods.
    """

    k: int = 200
    """Number of neighbors, at most the training set's images."""

    temperature: float = 0.1
    """T: the lower, the more the nearest neighbors count."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("knn_accuracy", "kNN accuracy", higher_is_better=True, unit=PERCENT),
    )
    targets: ClassVar[Mapping[str, TargetKind]] = {LABEL: "class"}
    reads: ClassVar[Reads] = "features"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise RunError(f"evaluator.knn.k must be at least 1 neighbor; got {self.k}")
        if not 0 < self.temperature < float("inf"):
            raise RunError(f"evaluator.knn.temperature must be above 0 and finite; got {self.temperature:g}")

    def build(self, context: EvaluatorContext) -> KnnEvaluator:
        """Return the evaluator.

        Raises
        ------
        RunError
            When the training set is smaller than k, or has no classes.
        """
        made = KnnEvaluator(self, context)
        labels = context.train.dataset.targets.get(LABEL)
        if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise RunError(
                f"evaluator knn needs a class for each training image, and {context.train.dataset.path} has "
                "none: train on a set with classes, or take --evaluator of its targets"
            )
        images = made.images - len(context.dataset)
        if self.k > images:
            raise RunError(
                f"evaluator.knn.k must be at most the {images:,} images of the training set; got {self.k:,}: "
                "lower it"
            )
        return made
