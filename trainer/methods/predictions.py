"""Statistics of a classifier's predictions, which every classification method reports beside its loss."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.methods.protocol import Losses, Statistic

CLASS_STATISTICS: tuple[Statistic, ...] = ("p_true", "error", "correct")
"""All that `with_predictions` adds."""


def with_predictions(loss: Tensor, log_p: Tensor, labels: Tensor) -> Losses:
    """Return a method's losses with the statistics that feedback and selections use.

    Parameters
    ----------
    loss
        float32[n, k], the method's losses, with their gradient.
    log_p
        float32[n, classes], log-softmax of the outputs.
    labels
        int64[n, k]
    """
    with torch.no_grad():
        p_true = torch.exp(log_p.gather(1, labels))
        # ||p - onehot(y)||^2 = sum_{c != y} p_c^2 + (sum_{c != y} p_c)^2: as 1 - p_y, the latter would be
        # nothing but rounding for samples that are learned well.
        p, errors = torch.exp(log_p), []
        for label in labels.unbind(dim=1):
            others = p.scatter(1, label[:, None], 0)
            errors.append(torch.hypot(others.norm(dim=1), others.sum(dim=1)))
        error = torch.stack(errors, dim=1)
        correct = log_p.argmax(dim=1, keepdim=True) == labels
    return Losses(loss, p_true, error, correct)
