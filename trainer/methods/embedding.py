"""Base of self-supervised methods: features of views, an online classifier, a measure of collapse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import Batch
from pipeline.targets import LABEL, TargetKind
from trainer.hardware.precision import at_least_float32
from trainer.inference.scorer import forgetful
from trainer.methods.protocol import Losses, Method, Offer
from trainer.metrics import Metric
from trainer.models import Encoder, check_encoder

SPREAD = Metric("spread", "spread of embeddings", higher_is_better=True, collapsed_below=0.02)
"""sqrt(d) times the mean over dimensions of the standard deviation of z / |z|: see `spread`."""


class EmbeddingMethod(Method):
    """A method that learns from views of an image which belong together, without labels.

    Parameters
    ----------
    encoder
        Its features are what is learned; a classifier, where it has one, is trained beside them.
    linear
        Whether to train the encoder's classifier on the features of every view, without gradient into them.

    Attributes
    ----------
    last_spread
        float[], the spread of the last training batch's embeddings; 1 before the first.
    """

    last_spread: Tensor

    def __init__(self, encoder: nn.Module, *, linear: bool) -> None:
        super().__init__(encoder)
        self._linear = linear
        if not linear:
            # A classifier would have no part in the loss.
            check_encoder(encoder).get_classifier().requires_grad_(False)
        first = next(encoder.parameters())
        self.register_buffer("last_spread", torch.ones((), dtype=first.dtype, device=first.device))

    def extra(self, batch: Batch, embed: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """Return targets made of further views than the two that are trained on, without gradient.

        Batch normalization takes their own statistics, and gathers none.
        """
        if len(batch.views) == 2:
            return []
        with torch.no_grad(), forgetful(self):
            return [embed(view) for view in batch.views[2:]]

    def losses_of(self, loss: Tensor, embeddings: Tensor, features: Sequence[Tensor], batch: Batch) -> Losses:
        """Return the losses of a step, and take in how far the embeddings are spread.

        Parameters
        ----------
        loss
            float[n], of each image.
        embeddings
            float[n, d], of one view, as they are compared.
        features
            float[n, d] of each view, for the online classifier.
        """
        if self.training:
            self.last_spread.copy_(spread(embeddings))
        if not self._linear:
            return Losses(loss[:, None])
        labels = batch.targets[LABEL]
        outputs = [check_encoder(self.encoder).get_classifier()(of_view.detach()) for of_view in features]
        entropies = [F.cross_entropy(at_least_float32(one), labels, reduction="none") for one in outputs]
        trained = torch.stack(entropies).mean(dim=0)
        # Its gradient is the classifier's alone; the loss that is reported is the method's.
        correct = outputs[0].detach().argmax(dim=1) == labels
        return Losses((loss + (trained - trained.detach()))[:, None], correct=correct[:, None])

    def pair_losses(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return minus the cosine of what one view predicts and what the other is: see ``Method``."""
        return pair_cosines(outputs[0], outputs[-1])

    def measured(self) -> Mapping[str, Tensor]:
        """Return the spread of the last batch's embeddings: see ``Method.measured``."""
        return {SPREAD.name: self.last_spread}


def features_of(network: nn.Module, view: Tensor) -> Tensor:
    """Return a network's features of images: what its classifier reads, float[n, d]."""
    encoder = check_encoder(network)
    return encoder.forward_head(encoder.forward_features(view), pre_logits=True)


def width_of(network: nn.Module) -> int:
    """Return d, the number of features of a network.

    Raises
    ------
    RunError
        When it lacks an encoder's methods.
    """
    encoder: Encoder = check_encoder(network)
    return encoder.num_features


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return cosine similarities of rows, float[n], in at least float32."""
    return F.cosine_similarity(at_least_float32(a), at_least_float32(b), dim=1)


def pair_cosines(predictions: Tensor, embeddings: Tensor) -> Tensor:
    """Return minus the cosine of all pairs of views, the mean over both ways, float[n, m, m].

    Parameters
    ----------
    predictions, embeddings
        float[n, m, d]
    """
    first, last = (F.normalize(at_least_float32(one), dim=2) for one in (predictions, embeddings))
    similarities = first @ last.transpose(1, 2)
    return -(similarities + similarities.transpose(1, 2)) / 2


def mean_of(losses: Sequence[Tensor]) -> Tensor:
    """Return the mean of each image's losses against several targets, float[n]."""
    return losses[0] if len(losses) == 1 else torch.stack(list(losses)).mean(dim=0)


@torch.no_grad()
def spread(embeddings: Tensor) -> Tensor:
    """Return how far embeddings are spread over the sphere: 1 evenly, 0 where all are the same.

    sqrt(d) times the mean over dimensions of the standard deviation over the batch of z / |z|; Chen and He
    (2021), figure 2, plot it without the factor.

    Parameters
    ----------
    embeddings
        float[n, d]
    """
    z = F.normalize(at_least_float32(embeddings), dim=1)
    deviations: Tensor = z.std(dim=0, unbiased=False)
    return deviations.mean() * float(embeddings.shape[1] ** 0.5)


@dataclass(frozen=True)
class EmbeddingConfig:
    """Options that all self-supervised methods have."""

    linear: bool = False
    """Train the encoder's classifier on its features, by the labels and without gradient into them, which
    `--evaluator knn classification` measures. The optimizer is the run's."""

    views: ClassVar[int] = 2
    streams: ClassVar[tuple[str, ...]] = ()
    metrics: ClassVar[tuple[Metric, ...]] = (SPREAD,)

    @property
    def targets(self) -> Mapping[str, TargetKind]:
        """Labels for the online classifier alone."""
        return {LABEL: "class"} if self.linear else {}

    @property
    def offers(self) -> tuple[Offer, ...]:
        """Losses of pairs, and whether predictions of the online classifier are correct."""
        return ("pairs", "correct") if self.linear else ("pairs",)
