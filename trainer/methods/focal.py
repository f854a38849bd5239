"""Focal loss: cross-entropy with little weight on samples that are predicted well."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.errors import RunError
from trainer.methods.classification import ClassificationConfig


@dataclass(frozen=True)
class Focal(ClassificationConfig):
    """Classification with focal loss: cross-entropy times a power of 1 - p of the true class.

    Lin et al. (2017), eq. 4, with one class in place of each detection::

        loss = -(1 - p_y)^gamma log p_y

    It weights difficult samples by the loss itself; "Sample importance in SGD training" compares sampling
    with it. The gradient goes through both factors. The paper's balance alpha
    between fore- and background is left out.
    """

    gamma: float = 2.0
    """Focus, at least 0: 0 is cross-entropy, 2 is the paper's choice."""

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < float("inf"):
            raise RunError(f"method.gamma must be at least 0 and finite; got {self.gamma:g}")

    def loss(self, log_p: Tensor, labels: Tensor) -> Tensor:
        """Return the focal loss of each image against each constituent's label."""
        log_true = log_p.gather(1, labels)
        # expm1 keeps 1 - p precise near 0; at 0 itself a power below 1 has no derivative.
        missing = (-torch.expm1(log_true)).clamp(min=torch.finfo(log_true.dtype).tiny)
        return -(missing**self.gamma) * log_true
