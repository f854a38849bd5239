"""A method that only tests have: classification beside a stream of unlabelled images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from pipeline import Batch
from trainer.methods import Losses, Method, Supervised


class PenalizedMethod(Method):
    """Supervised, and small outputs on unlabelled images; keeps the ids that it has seen."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder)
        self.supervised = Supervised().build(encoder)
        self.seen: list[np.ndarray] = []

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        losses = self.supervised(batch)
        unlabelled = streams["unlabelled"]
        if not unlabelled.images.is_meta:
            self.seen.append(np.asarray(unlabelled.ids))
        penalty = self.encoder(unlabelled.images).square().mean()
        return Losses(losses.loss + penalty / 10, losses.p_true, losses.error, losses.correct)

    def losses(self, outputs: torch.Tensor, labels: torch.Tensor) -> Losses:
        return self.supervised.losses(outputs, labels)


@dataclass(frozen=True)
class Penalized(Supervised):
    """Classification that also takes batches of a stream."""

    streams: ClassVar[tuple[str, ...]] = ("unlabelled",)

    def build(self, encoder: nn.Module) -> Any:
        return PenalizedMethod(encoder)
