"""Mean average precision of a multi-label classifier on a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.targets import LABEL, TargetKind
from trainer.evaluators.protocol import EvaluatorContext, Reads
from trainer.inference.average_precision import average_precision
from trainer.inference.predict import EverySample, predict
from trainer.interrupt import Stopped
from trainer.metrics import PERCENT, Metric


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
    reads: ClassVar[Reads] = "outputs"

    def build(self, context: EvaluatorContext) -> MultiLabelEvaluator:
        """Return the evaluator."""
        return MultiLabelEvaluator(context)
