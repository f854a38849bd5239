"""Classification on imbalanced sets: cross-entropy that makes up for how often each class comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from trainer.errors import RunError
from trainer.hardware.precision import at_least_float32
from trainer.methods.classification import ClassificationConfig, ClassificationMethod
from trainer.methods.protocol import Losses
from trainer.models import Encoder


class BalancedMethod(ClassificationMethod):
    """Classification whose loss knows the classes' frequencies; they are kept in checkpoints."""

    log_prior: Tensor

    def __init__(self, encoder: nn.Module, config: Balanced) -> None:
        super().__init__(encoder, config.loss)
        self._config = config
        # Until it is told, classes come equally often.
        self.register_buffer("log_prior", _equal(encoder))

    def begin(self, counts: Sequence[int]) -> None:
        """Take the classes' frequencies from their counts; a class without samples counts as having one."""
        numbers = torch.tensor(counts, dtype=torch.float64).clamp(min=1)
        self.log_prior = (numbers / numbers.sum()).log().to(self.log_prior)

    def losses(self, outputs: Tensor, labels: Tensor) -> Losses:
        """Return balanced losses, and the statistics of the outputs as they are: see ``Method.losses``."""
        plain = super().losses(outputs, labels)
        strength = self._config.strength
        if self._config.by == "logits":
            adjusted = at_least_float32(outputs) + strength * self.log_prior
            return replace(plain, loss=self._config.loss(torch.log_softmax(adjusted, dim=1), labels))
        # Weights of mean 1 over the samples of the training set.
        prior = torch.softmax(self.log_prior.expand(outputs.shape[1]), dim=0)
        weights = prior**-strength / (prior ** (1 - strength)).sum()
        return replace(plain, loss=plain.loss * weights[labels])


@dataclass(frozen=True)
class Balanced(ClassificationConfig):
    """Classification with cross-entropy that makes up for the classes' frequencies, for imbalanced sets.

    With pi_y the fraction of training samples of class y and tau the strength, by adjusted logits (Menon et
    al. 2021, eq. 10), which aims at the mean of the classes' accuracies, or by weights per class::

        loss = -log softmax(outputs + tau log pi)[y]
        loss = -log softmax(outputs)[y] pi_y^-tau / sum_c pi_c^(1 - tau)

    Outputs are evaluated as they are.
    """

    by: Literal["logits", "weights"] = "logits"
    """logits: adjusted logits. weights: a weight per class, of mean 1 over the training set."""

    strength: float = 1.0
    """tau, at least 0: 0 is plain cross-entropy, 1 makes up for frequencies in full."""

    def __post_init__(self) -> None:
        if not 0 <= self.strength < float("inf"):
            raise RunError(f"method.strength must be at least 0 and finite; got {self.strength:g}")

    def loss(self, log_p: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of each image against each constituent's label, in nats."""
        return -log_p.gather(1, labels)

    def build(self, encoder: nn.Module) -> BalancedMethod:
        """Return the method: see ``MethodConfig.build``."""
        return BalancedMethod(encoder, self)


def _equal(encoder: nn.Module) -> Tensor:
    """Return a 0 for each of an encoder's outputs, as its last layer with weights has them, on its device."""
    network = encoder.get_classifier() if isinstance(encoder, Encoder) else encoder
    layers = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return layers[-1].weight.new_zeros(layers[-1].weight.shape[0]) if layers else torch.zeros(1)
