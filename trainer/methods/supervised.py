"""Supervised classification with cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainer.methods.classification import ClassificationConfig


@dataclass(frozen=True)
class Supervised(ClassificationConfig):
    """Classification with cross-entropy.

    Arazo et al. (2021) eq. 1, for every constituent of an image.
    The loss of image i against the label y of one of its constituents is ``-log softmax(outputs[i])[y]``.
    """

    def loss(self, log_p: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of each image against each constituent's label, in nats."""
        return -log_p.gather(1, labels)
