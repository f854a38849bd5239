"""Errors of predicted values on a data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from pipeline.targets import LABEL, TargetKind
from trainer.evaluators.protocol import EvaluatorContext, Reads
from trainer.inference.predict import EverySample, predict
from trainer.interrupt import Stopped
from trainer.metrics import Metric


@dataclass(frozen=True, slots=True)
class RegressionEvaluator:
    """Shows a network every image once."""

    context: EvaluatorContext

    @property
    def images(self) -> int:
        """All of the set."""
        return len(self.context.dataset)

    def run(self, encoder: nn.Module, asked: Callable[[], bool]) -> Iterator[tuple[str, float]]:
        """Yield the mean absolute error and the root of the mean squared error, over images and values."""
        context = self.context
        sums = torch.zeros(2, dtype=torch.float64, device=context.test.device)
        order = EverySample(len(context.dataset))
        for batch, outputs in predict(encoder, context.test, context.view, order, bf16=context.bf16):
            errors = (outputs - batch.targets[LABEL].reshape(outputs.shape)).double()
            sums += torch.stack((errors.abs().sum(), errors.square().sum()))
            if asked():
                raise Stopped
        count = len(context.dataset) * (context.dataset.card.spec.columns or 1)
        absolute, squared = (value / count for value in context.world.sum(sums).tolist())
        yield "mean_absolute_error", absolute
        yield "root_mean_squared_error", math.sqrt(squared)


@dataclass(frozen=True)
class RegressionErrors:
    """Mean absolute error and root mean squared error on the test set, in the values' own units."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("mean_absolute_error", "mean absolute error", higher_is_better=False),
        Metric("root_mean_squared_error", "root mean squared error", higher_is_better=False),
    )
    targets: ClassVar[Mapping[str, TargetKind]] = {LABEL: "value"}
    reads: ClassVar[Reads] = "outputs"

    def build(self, context: EvaluatorContext) -> RegressionEvaluator:
        """Return the evaluator."""
        return RegressionEvaluator(context)
