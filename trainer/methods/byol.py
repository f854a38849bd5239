"""BYOL: each view's prediction of what a target network, an average of the past, makes of the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline import Batch
from trainer.methods.embedding import EmbeddingConfig, EmbeddingMethod, cosine, features_of, mean_of, width_of
from trainer.methods.heads import check_widths, perceptron
from trainer.methods.protocol import Losses
from trainer.methods.target import Target, check_momentum, cosine_momentum


class BYOLMethod(EmbeddingMethod):
    """Two views through an online network with a predictor, and through its target."""

    def __init__(self, encoder: nn.Module, config: BYOL) -> None:
        super().__init__(encoder, linear=config.linear)
        self.projector = perceptron((width_of(encoder), config.hidden, config.out))
        self.predictor = perceptron((config.out, config.hidden, config.out))
        self.target = Target(encoder, self.projector)
        self._momentum = config.momentum

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        """Return the loss of each image: see ``Method.forward``."""
        features = [features_of(self.encoder, view) for view in batch.views[:2]]
        z1, z2 = (self.projector(one) for one in features)
        with torch.no_grad():
            t1, t2 = (self._aim(view) for view in batch.views[:2])
        loss = byol_loss(self.predictor(z1), self.predictor(z2), t1, t2, self.extra(batch, self._aim))
        return self.losses_of(loss, z1, features, batch)

    def _aim(self, view: Tensor) -> Tensor:
        aim: Tensor = self.target.projector(features_of(self.target.encoder, view))
        return aim

    def after_step(self, progress: float) -> None:
        """Let the target follow, ever more slowly."""
        self.target.follow(cosine_momentum(self._momentum, progress))

    def pair_outputs(self, view: Tensor) -> Sequence[Tensor]:
        """Return predictions and embeddings: see ``Method.pair_outputs``."""
        z = self.projector(features_of(self.encoder, view))
        return self.predictor(z), z


def byol_loss(p1: Tensor, p2: Tensor, t1: Tensor, t2: Tensor, extra: Sequence[Tensor] = ()) -> Tensor:
    """Return each image's loss, float[n], of predictions and target embeddings float[n, d] of its views.

    Grill et al. (2020) eq. 2, the mean over both ways where the paper has the sum, so that one learning rate
    serves all methods::

        loss = 1/2 (2 - 2 cos(p1, t2)) + 1/2 (2 - 2 cos(p2, t1))

    With extra targets each cosine is the mean over t and those. lightly has half the negative cosines, that
    is (loss - 2) / 2 of this: the same up to the rate.
    """
    one = mean_of([cosine(p1, t) for t in (t2.detach(), *extra)])
    other = mean_of([cosine(p2, t) for t in (t1.detach(), *extra)])
    return 2 - one - other


@dataclass(frozen=True)
class BYOL(EmbeddingConfig):
    """BYOL: self-supervised, each view predicts a slowly moving network's embedding of the other.

    Grill et al. (2020): no negatives. The target network is an average of the online network's past, with a
    momentum that grows to 1 by half a cosine. What is evaluated is the online encoder.
    """

    hidden: int = 4096
    """Width of the hidden layers of projector and predictor."""

    out: int = 256
    """Dimensions of the embedding."""

    momentum: float = 0.996
    """Momentum of the target at the first step."""

    def __post_init__(self) -> None:
        check_widths(hidden=self.hidden, out=self.out)
        check_momentum("momentum", self.momentum)

    def build(self, encoder: nn.Module) -> BYOLMethod:
        """Return the method: see ``MethodConfig.build``."""
        return BYOLMethod(encoder, self)
