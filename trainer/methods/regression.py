"""Regression: numbers of each image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import Batch
from pipeline.targets import LABEL, TargetKind
from trainer.errors import RunError
from trainer.hardware.precision import at_least_float32
from trainer.methods.protocol import Losses, Method, Offer
from trainer.metrics import Metric


class RegressionMethod(Method):
    """Trains an encoder whose outputs are the values themselves; owns nothing else."""

    def __init__(self, encoder: nn.Module, config: Regression) -> None:
        super().__init__(encoder)
        self._config = config

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        """Return the loss of each constituent: see ``Method.forward``."""
        return self.losses(self.encoder(batch.images), batch.constituents(batch.targets[LABEL]))

    def losses(self, outputs: Tensor, labels: Tensor) -> Losses:
        """Return the losses of outputs, float[n, C], against values, float[n, k, C] or for one [n, k]."""
        outputs = at_least_float32(outputs)
        values = labels.reshape(*labels.shape[:2], outputs.shape[1]).to(outputs.dtype)
        predicted = outputs[:, None].expand(values.shape)
        return Losses(self._config.loss_of(predicted, values).mean(dim=2))


@dataclass(frozen=True)
class Regression:
    """Regression of one or several values per image, the mean over them.

    Errors are in the units of the data: of values far from 0 or of very different scales, train on
    standardized ones.
    """

    loss: Literal["squared", "absolute", "huber"] = "squared"
    """Loss of each value: its squared error, its absolute error, or Huber's, squared up to delta and linear
    beyond."""

    delta: float = 1.0
    """Error up to which Huber's loss is squared, above 0."""

    views: ClassVar[int] = 1
    streams: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[Mapping[str, TargetKind]] = {LABEL: "value"}
    offers: ClassVar[tuple[Offer, ...]] = ("scores",)
    metrics: ClassVar[tuple[Metric, ...]] = ()

    def __post_init__(self) -> None:
        if not 0 < self.delta < float("inf"):
            raise RunError(f"method.delta must be above 0 and finite; got {self.delta:g}")

    def build(self, encoder: nn.Module) -> RegressionMethod:
        """Return the method: see ``MethodConfig.build``."""
        return RegressionMethod(encoder, self)

    def loss_of(self, predicted: Tensor, values: Tensor) -> Tensor:
        """Return the loss of each prediction, of the same shape."""
        if self.loss == "squared":
            return F.mse_loss(predicted, values, reduction="none")
        if self.loss == "absolute":
            return F.l1_loss(predicted, values, reduction="none")
        return F.huber_loss(predicted, values, reduction="none", delta=self.delta)
