"""A method turns a model's outputs into losses, one for each constituent of each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

Statistic = Literal["p_true", "error", "correct"]
"""What a method may tell of a prediction beside its loss, by the attributes of `Losses`."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of a batch of n images with k constituents each; all but the loss only of classes.

    Attributes
    ----------
    loss
        float32[n, k], the loss of each image against each constituent's target; carries the gradient.
    p_true
        float32[n, k], the probability of each constituent's label; detached.
    error
        float32[n, k], the norm of softmax - onehot(the constituent's label); detached.
    correct
        bool[n, k], whether the constituent's label is the one predicted.
    """

    loss: Tensor
    p_true: Tensor | None = None
    error: Tensor | None = None
    correct: Tensor | None = None


class MethodPart(Protocol):
    """A frozen dataclass whose fields are the method's options."""

    @property
    def offers(self) -> tuple[Statistic, ...]:
        """The optional attributes that all its `Losses` have."""

    def losses(self, outputs: Tensor, labels: Tensor) -> Losses:
        """Losses of ``outputs`` float[n, classes] against ``labels`` int64[n, k].

        Runs on the device in float32, without waiting for it.
        """
