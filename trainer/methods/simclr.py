"""SimCLR: a view finds the other of its image among all those of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import Batch
from trainer.hardware.precision import at_least_float32
from trainer.methods import ranks
from trainer.methods.embedding import EmbeddingConfig, EmbeddingMethod, features_of, mean_of, width_of
from trainer.methods.heads import check_widths, perceptron
from trainer.methods.protocol import Losses
from trainer.methods.target import check_temperature


class SimCLRMethod(EmbeddingMethod):
    """Two views through one network and a projector."""

    def __init__(self, encoder: nn.Module, config: SimCLR) -> None:
        super().__init__(encoder, linear=config.linear)
        width = width_of(encoder)
        self.projector = perceptron((width, config.hidden or width, config.out), last="normalized")
        self._temperature = config.temperature

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        """Return the loss of each image: see ``Method.forward``."""
        features = [features_of(self.encoder, view) for view in batch.views[:2]]
        z1, z2 = (self.projector(one) for one in features)
        extra = self.extra(batch, lambda view: self.projector(features_of(self.encoder, view)))
        return self.losses_of(nt_xent(z1, z2, self._temperature, extra), z1, features, batch)

    def pair_outputs(self, view: Tensor) -> Sequence[Tensor]:
        """Return embeddings: see ``Method.pair_outputs``."""
        return (self.projector(features_of(self.encoder, view)),)


def nt_xent(z1: Tensor, z2: Tensor, temperature: float, extra: Sequence[Tensor] = ()) -> Tensor:
    """Return each image's loss, float[n], of embeddings float[n, d] of its two views.

    The mean of its two anchors' (Chen et al. 2020, eq. 1): over all 2N views of the batches of all ranks ::

        l(i, j) = -log( exp(cos(z_i, z_j) / T) / sum over k != i of exp(cos(z_i, z_k) / T) )

    An anchor's loss is the mean over its partner and the extra targets, each of which stands in the partner's
    place, in the sum, too.
    """
    n, first = len(z1), ranks.rank() * len(z1)
    z1, z2 = (F.normalize(at_least_float32(z), dim=1) for z in (z1, z2))
    others = torch.cat((ranks.gathered(z1), ranks.gathered(z2)))
    logits = torch.cat((z1, z2)) @ others.T / temperature
    here = torch.arange(first, first + n, device=z1.device)
    there = here + len(others) // 2
    itself, partner = torch.cat((here, there)), torch.cat((there, here))
    logits = logits.scatter(1, itself[:, None], -torch.inf)
    losses = [F.cross_entropy(logits, partner, reduction="none")]
    for target in extra:
        aim = F.normalize(at_least_float32(target), dim=1)
        similar = (torch.cat((z1, z2)) * torch.cat((aim, aim))).sum(dim=1, keepdim=True) / temperature
        replaced = logits.scatter(1, partner[:, None], similar)
        losses.append(F.cross_entropy(replaced, partner, reduction="none"))
    anchors = mean_of(losses)
    return (anchors[:n] + anchors[n:]) / 2


@dataclass(frozen=True)
class SimCLR(EmbeddingConfig):
    """SimCLR: self-supervised, each view finds the other of its image among all those of the batch.

    Chen et al. (2020), with batch normalization in the projector as in their code. Negatives come from the
    batches of all ranks. Large batches help.
    """

    hidden: int | None = None
    """Width of the projector's hidden layer; None takes the encoder's number of features."""

    out: int = 128
    """Dimensions of the embedding."""

    temperature: float = 0.1
    """T: published .1 for ImageNet, .5 for CIFAR-10."""

    def __post_init__(self) -> None:
        check_widths(hidden=1 if self.hidden is None else self.hidden, out=self.out)
        check_temperature("temperature", self.temperature)

    def build(self, encoder: nn.Module) -> SimCLRMethod:
        """Return the method: see ``MethodConfig.build``."""
        return SimCLRMethod(encoder, self)
