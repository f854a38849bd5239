"""Classification: outputs of one view against each constituent's label, by cross-entropy or another loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline import Batch
from pipeline.targets import LABEL, TargetKind
from trainer.methods.protocol import Losses, Method, Offer
from trainer.metrics import Metric

ClassLoss = Callable[[Tensor, Tensor], Tensor]
"""From log-softmax of the outputs, float[n, classes], and labels int64[n, k], to losses float[n, k]."""


class ClassificationMethod(Method):
    """Trains an encoder whose outputs are logits, its only module.

    The log-softmax is taken once per image in at least float32, whatever the number of constituents.

    Parameters
    ----------
    encoder
        Network from images to logits.
    loss
        Loss of each image against each constituent's label.
    """

    def __init__(self, encoder: nn.Module, loss: ClassLoss) -> None:
        super().__init__(encoder)
        self._loss = loss

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        """Return losses and class statistics of each constituent: see ``Method.forward``."""
        return self.losses(self.encoder(batch.images), batch.constituents(batch.targets["label"]))

    def losses(self, outputs: Tensor, labels: Tensor) -> Losses:
        """Return losses and class statistics: see ``Method.losses``."""
        log_p = torch.log_softmax(outputs, dim=1, dtype=torch.promote_types(outputs.dtype, torch.float32))
        return Losses(self._loss(log_p, labels), *class_statistics(log_p, labels))


@torch.no_grad()
def class_statistics(log_p: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the probability of each label, the error, and whether it is the prediction: see `Losses`.

    Parameters
    ----------
    log_p
        float[n, classes], log-softmax of the outputs.
    labels
        int64[n, k]
    """
    p_true = torch.exp(log_p.gather(1, labels))
    # ||p - onehot(y)||^2 = sum_{c != y} p_c^2 + (sum_{c != y} p_c)^2: as 1 - p_y, the latter would be nothing
    # but rounding for samples that are learned well.
    p, errors = torch.exp(log_p), []
    for label in labels.unbind(dim=1):
        others = p.scatter(1, label[:, None], 0)
        errors.append(torch.hypot(others.norm(dim=1), others.sum(dim=1)))
    correct = log_p.argmax(dim=1, keepdim=True) == labels
    return p_true, torch.stack(errors, dim=1), correct


@dataclass(frozen=True)
class ClassificationConfig:
    """A classification method: its options and its loss function."""

    views: ClassVar[int] = 1
    streams: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[Mapping[str, TargetKind]] = {LABEL: "class"}
    offers: ClassVar[tuple[Offer, ...]] = ("p_true", "error", "correct", "scores")
    metrics: ClassVar[tuple[Metric, ...]] = ()

    def loss(self, log_p: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each image against each constituent's label: see ``ClassLoss``."""
        raise NotImplementedError

    def build(self, encoder: nn.Module) -> ClassificationMethod:
        """Return the method: see ``MethodConfig.build``."""
        return ClassificationMethod(encoder, self.loss)


@dataclass(frozen=True)
class Supervised(ClassificationConfig):
    """Classification with cross-entropy.

    Arazo et al. (2021) eq. 1, for every constituent of an image.
    The loss of image i against the label y of one of its constituents is ``-log softmax(outputs[i])[y]``.
    """

    def loss(self, log_p: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of each image against each constituent's label, in nats."""
        return -log_p.gather(1, labels)
