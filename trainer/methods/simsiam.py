"""SimSiam: each view's prediction of the other one's embedding, which gets no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from pipeline import Batch
from trainer.methods.embedding import EmbeddingConfig, EmbeddingMethod, cosine, features_of, mean_of, width_of
from trainer.methods.heads import check_widths, perceptron
from trainer.methods.protocol import Losses


class SimSiamMethod(EmbeddingMethod):
    """Two views through one network, a projector and a predictor."""

    def __init__(self, encoder: nn.Module, config: SimSiam) -> None:
        super().__init__(encoder, linear=config.linear)
        width = width_of(encoder)
        hidden = config.hidden or width
        self.projector = perceptron((width, hidden, hidden, config.out), last="standardized")
        self.predictor = perceptron((config.out, config.bottleneck, config.out))

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        """Return the loss of each image: see ``Method.forward``."""
        features = [features_of(self.encoder, view) for view in batch.views[:2]]
        z1, z2 = (self.projector(one) for one in features)
        extra = self.extra(batch, lambda view: self.projector(features_of(self.encoder, view)))
        loss = simsiam_loss(self.predictor(z1), self.predictor(z2), z1, z2, extra)
        return self.losses_of(loss, z1, features, batch)

    def pair_outputs(self, view: Tensor) -> Sequence[Tensor]:
        """Return predictions and embeddings: see ``Method.pair_outputs``."""
        z = self.projector(features_of(self.encoder, view))
        return self.predictor(z), z


def simsiam_loss(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor, extra: Sequence[Tensor] = ()) -> Tensor:
    """Return each image's loss, float[n], of predictions and embeddings float[n, d] of its two views.

    Without gradient into the embeddings z (Chen and He 2021, eq. 2)::

        loss = -1/2 cos(p1, z2) - 1/2 cos(p2, z1)

    With extra targets each cosine is the mean over z and those.
    """
    one = mean_of([cosine(p1, z) for z in (z2.detach(), *extra)])
    other = mean_of([cosine(p2, z) for z in (z1.detach(), *extra)])
    return -(one + other) / 2


@dataclass(frozen=True)
class SimSiam(EmbeddingConfig):
    """SimSiam: self-supervised, each view predicts the embedding of the other.

    Chen and He (2021): no negatives, no second network. The embeddings are those of a projector of three
    layers, the predictions those of a predictor of two with a bottleneck.
    """

    hidden: int | None = None
    """Width of the projector's hidden layers; None takes the encoder's number of features, as published."""

    out: int = 2048
    """Dimensions of the embedding."""

    bottleneck: int = 512
    """Width of the predictor's hidden layer: a quarter of the embedding's, as published."""

    def __post_init__(self) -> None:
        check_widths(hidden=1 if self.hidden is None else self.hidden, out=self.out)
        check_widths(bottleneck=self.bottleneck)

    def build(self, encoder: nn.Module) -> SimSiamMethod:
        """Return the method: see ``MethodConfig.build``."""
        return SimSiamMethod(encoder, self)
