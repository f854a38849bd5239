"""Supervised classification with cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainer.methods.predictions import CLASS_STATISTICS, with_predictions
from trainer.methods.protocol import Losses, Statistic
from trainer.precision import at_least_float32


@dataclass(frozen=True)
class Supervised:
    """Classification with cross-entropy.

    Arazo et al. (2021) eq. 1, for every constituent of an image.
    The loss of image i against owner j is ``-log softmax(outputs[i])[labels[i, j]]``. The log-softmax is
    taken once an image, whatever the number of constituents.
    """

    offers: ClassVar[tuple[Statistic, ...]] = CLASS_STATISTICS

    def losses(self, outputs: Tensor, labels: Tensor) -> Losses:
        """Cross-entropy of each image against each constituent's label, in nats."""
        log_p = torch.log_softmax(at_least_float32(outputs), dim=1)
        return with_predictions(-log_p.gather(1, labels), log_p, labels)
