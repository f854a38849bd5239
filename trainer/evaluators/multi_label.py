"""Mean average precision of a multi-label classifier on a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from pipeline.targets import LABEL, TargetKind
from trainer.evaluators.protocol import EvaluatorContext
from trainer.inference.predict import EverySample, predict
from trainer.interrupt import Stopped
from trainer.metrics import PERCENT, Metric


def average_precision(scores: NDArray[np.floating[Any]], present: NDArray[np.bool_]) -> float:
    """Return the area under the precision-recall curve of one label, by steps; NaN where no image has it.

    Sum over thresholds of precision times the gain in recall; images of equal scores pass a threshold
    together, so that their order doesn't matter.

    Parameters
    ----------
    scores
        float[n], higher for images that more likely have the label.
    present
        bool[n], the images that have it.
    """
    if not present.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(present[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    precision, gain = hits[last] / (last + 1), np.diff(hits[last], prepend=0) / hits[-1]
    return float((precision * gain).sum())


@dataclass(frozen=True, slots=True)
class MultiLabelEvaluator:
    """Shows a multi-label classifier every image once."""

    context: EvaluatorContext

    @property
    def images(self) -> int:
        """All of the set."""
        return len(self.context.dataset)

    def run(self, encoder: nn.Module, asked: Callable[[], bool]) -> Iterator[tuple[str, float]]:
        """Yield the mean over labels of average precision, and the mean binary cross-entropy."""
        context = self.context
        scores, present = [], []
        loss = torch.zeros(1, dtype=torch.float64, device=context.test.device)
        order = EverySample(len(context.dataset))
        for batch, outputs in predict(encoder, context.test, context.view, order, bf16=context.bf16):
            labels = batch.targets[LABEL]
            loss += F.binary_cross_entropy_with_logits(outputs, labels.to(outputs.dtype), reduction="sum")
            scores.append(outputs)
            present.append(labels.bool())
            if asked():
                raise Stopped
        labels_in_all = len(context.dataset) * len(context.dataset.card.classes)
        mean_loss = float(context.world.sum(loss).item()) / max(1, labels_in_all)
        mine = (torch.cat(scores).cpu().numpy(), torch.cat(present).cpu().numpy())
        ranks = context.world.gather(mine)
        all_scores, all_present = (np.concatenate([rank[i] for rank in ranks]) for i in range(2))
        each = [average_precision(*column) for column in zip(all_scores.T, all_present.T, strict=True)]
        # Labels that no image of the set has tell nothing.
        there = [value for value in each if value == value]
        yield "mean_average_precision", float(np.mean(there)) if there else 0.0
        yield "loss", mean_loss


@dataclass(frozen=True)
class MultiLabelPrecision:
    """Mean average precision over labels, and binary cross-entropy, on the test set.

    Labels that no test image has are left out of the mean.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("mean_average_precision", "mean average precision", higher_is_better=True, unit=PERCENT),
        Metric("loss", "test loss", higher_is_better=False, unit="nats"),
    )
    targets: ClassVar[Mapping[str, TargetKind]] = {LABEL: "multi_label"}

    def build(self, context: EvaluatorContext) -> MultiLabelEvaluator:
        """Return the evaluator."""
        return MultiLabelEvaluator(context)
