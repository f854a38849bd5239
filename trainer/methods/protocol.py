"""A method turns a model's outputs into losses, one for each constituent of each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of a batch of n images with k constituents each.

    Attributes
    ----------
    per_owner
        float32[n, k], the loss of each image against each owner's label; carries the gradient.
    p_true
        float32[n, k], the probability given to each owner's label; detached.
    error
        float32[n, k], the norm of softmax - onehot(the owner's label); detached.
    hit
        bool[n, k], whether the owner's label is the one predicted.
    """

    per_owner: Tensor
    p_true: Tensor
    error: Tensor
    hit: Tensor


class MethodPart(Protocol):
    """A frozen dataclass whose fields are the method's options."""

    def losses(self, outputs: Tensor, labels: Tensor) -> Losses:
        """Losses of ``outputs`` float[n, classes] against ``labels`` int64[n, k].

        Runs on the device in float32, without waiting for it.
        """
