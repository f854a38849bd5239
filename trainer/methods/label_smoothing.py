"""Cross-entropy against smoothed labels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainer.errors import RunError
from trainer.methods.classification import ClassificationConfig


@dataclass(frozen=True)
class LabelSmoothing(ClassificationConfig):
    """Classification with cross-entropy against smoothed labels, with some weight on every class.

    Szegedy et al. (2016), section 7: with C classes the target is 1 - eps + eps / C for the true class and
    eps / C for each other, so ::

        loss = -(1 - eps) log p_y - eps mean_c log p_c

    Probability and error are against the label itself, as in `supervised`.
    """

    eps: float = 0.1
    """Fraction of the target spread evenly over all classes, from 0 to below 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.eps < 1:
            raise RunError(f"method.eps must be at least 0 and below 1; got {self.eps:g}")

    def loss(self, log_p: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of each image against each constituent's smoothed label, in nats."""
        spread = log_p.mean(dim=1, keepdim=True)
        return -(1 - self.eps) * log_p.gather(1, labels) - self.eps * spread
