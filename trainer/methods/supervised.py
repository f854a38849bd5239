"""Supervised classification with cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.methods.protocol import Losses


@dataclass(frozen=True)
class Supervised:
    """Classification with cross-entropy.

    000 eq. 1, for every constituent of an image.
    The loss of image i against owner j is ``-log softmax(outputs[i])[labels[i, j]]``. The log-softmax is
    taken once an image, whatever the number of constituents.
    """

    def losses(self, outputs: Tensor, labels: Tensor) -> Losses:
        """Cross-entropy of each image against each constituent's label, in nats."""
        log_p = torch.log_softmax(outputs.float(), dim=1)
        per_owner = -log_p.gather(1, labels)
        with torch.no_grad():
            p_true = torch.exp(-per_owner)
            # ||p - onehot(y)||^2 = sum_c p_c^2 - 2 p_y + 1; rounding can bring it below 0.
            squared = torch.exp(2 * log_p).sum(dim=1, keepdim=True) - 2 * p_true + 1
            error = squared.clamp_(min=0).sqrt_()
        return Losses(per_owner, p_true, error)
