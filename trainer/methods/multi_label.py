"""Multi-label classification: any number of labels per image, each a yes or a no of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import Batch
from pipeline.targets import LABEL, TargetKind
from trainer.errors import RunError
from trainer.hardware.precision import at_least_float32
from trainer.methods.protocol import Losses, Method, Offer
from trainer.metrics import Metric


class MultiLabelMethod(Method):
    """Trains an encoder whose outputs are one logit per label; owns nothing else."""

    def __init__(self, encoder: nn.Module, config: MultiLabel) -> None:
        super().__init__(encoder)
        self._config = config

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        """Return the loss of each constituent: see ``Method.forward``."""
        return self.losses(self.encoder(batch.images), batch.constituents(batch.targets[LABEL]))

    def losses(self, outputs: Tensor, labels: Tensor) -> Losses:
        """Return the losses of logits, float[n, C], against labels, uint8[n, k, C]: see ``Method.losses``."""
        logits = at_least_float32(outputs)[:, None].expand(labels.shape)
        return Losses(self._config.loss_of(logits, labels.to(logits.dtype)).mean(dim=2))


@dataclass(frozen=True)
class MultiLabel:
    """Multi-label classification with binary cross-entropy or asymmetric loss, the mean over labels.

    With p the sigmoid of a label's logit, binary cross-entropy is -log p where the image has the label and
    -log(1 - p) where it hasn't. Asymmetric loss (Ridnik et al. 2021, eqs. 4 to 7) leaves out easy negatives,
    most of which an image has::

        L+ = -(1 - p)^gamma_positive log p
        L- = -p_m^gamma_negative log(1 - p_m),  p_m = max(p - margin, 0)

    The released code of the latter sums over labels, and its rates are for that sum.
    """

    loss: Literal["bce", "asymmetric"] = "bce"
    """bce: binary cross-entropy. asymmetric: asymmetric loss, with the options below."""

    gamma_positive: float = 0.0
    """Focus of labels that an image has, at least 0; 0 is the paper's."""

    gamma_negative: float = 4.0
    """Focus of labels that it hasn't, at least 0; 4 is the paper's."""

    margin: float = 0.05
    """Probability below which a label that it hasn't costs nothing, from 0 to below 1; .05 is the paper's."""

    views: ClassVar[int] = 1
    streams: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[Mapping[str, TargetKind]] = {LABEL: "multi_label"}
    offers: ClassVar[tuple[Offer, ...]] = ("scores",)
    metrics: ClassVar[tuple[Metric, ...]] = ()

    def __post_init__(self) -> None:
        for name in ("gamma_positive", "gamma_negative"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise RunError(f"method.{name} must be at least 0 and finite; got {getattr(self, name):g}")
        if not 0 <= self.margin < 1:
            raise RunError(f"method.margin must be at least 0 and below 1; got {self.margin:g}")

    def build(self, encoder: nn.Module) -> MultiLabelMethod:
        """Return the method: see ``MethodConfig.build``."""
        return MultiLabelMethod(encoder, self)

    def loss_of(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each logit against its label, 0 or 1, both float of one shape, in nats."""
        if self.loss == "bce":
            return F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        p, tiny = torch.sigmoid(logits), torch.finfo(logits.dtype).tiny
        # A power has no finite slope at 0 below an exponent of 1.
        positive = (1 - p).clamp(min=tiny) ** self.gamma_positive * F.logsigmoid(logits)
        shifted = (p - self.margin).clamp(min=0)
        log_absent = F.logsigmoid(-logits) if self.margin == 0 else torch.log1p(-shifted)
        negative = shifted.clamp(min=tiny) ** self.gamma_negative * log_absent
        return -(labels * positive + (1 - labels) * negative)
