"""What every classification method says of its predictions besides its own loss."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.methods.protocol import Losses


def with_predictions(per_owner: Tensor, log_p: Tensor, labels: Tensor) -> Losses:
    """Put what feedback and selection need beside a method's losses.

    Parameters
    ----------
    per_owner
        float32[n, k], the method's losses, with their gradient.
    log_p
        float32[n, classes], log-softmax of the outputs.
    labels
        int64[n, k]
    """
    with torch.no_grad():
        p_true = torch.exp(log_p.gather(1, labels))
        # ||p - onehot(y)||^2 = sum_c p_c^2 - 2 p_y + 1; rounding can bring it below 0.
        squared = torch.exp(2 * log_p).sum(dim=1, keepdim=True) - 2 * p_true + 1
        error = squared.clamp_(min=0).sqrt_()
        hit = log_p.argmax(dim=1, keepdim=True) == labels
    return Losses(per_owner, p_true, error, hit)
