"""MoCo v2+: a view's query finds the other view's key among a queue of earlier ones."""

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
from trainer.methods.grouped_norm import group_norms, set_groups
from trainer.methods.heads import check_widths, perceptron
from trainer.methods.pending import Pending
from trainer.methods.protocol import Losses
from trainer.methods.target import Target, check_momentum, check_temperature


class MoCoMethod(EmbeddingMethod):
    """Two views through a query network, and in random groups through its average, the key network.

    Attributes
    ----------
    queue
        float[K, d], keys of earlier steps, of length 1.
    pointer
        int64[], where the next key goes.
    """

    queue: Tensor
    pointer: Tensor

    def __init__(self, encoder: nn.Module, config: MoCo) -> None:
        super().__init__(encoder, linear=config.linear)
        width = width_of(encoder)
        self.projector = perceptron((width, config.hidden or width, config.out), hidden_norm=False)
        self.target = Target(encoder, self.projector)
        group_norms(self.target)
        first = next(encoder.parameters())
        drawn = torch.randn(config.queue, config.out, dtype=first.dtype, device=first.device)
        self.register_buffer("queue", F.normalize(drawn, dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64, device=first.device))
        self._keys = Pending(self)
        self._momentum = config.momentum
        self._temperature = config.temperature
        self._groups = config.shuffle_groups

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        """Return the loss of each image: see ``Method.forward``."""
        features = [features_of(self.encoder, view) for view in batch.views[:2]]
        z1, z2 = (self.projector(one) for one in features)
        k1, k2 = (self._keys_of(view) for view in batch.views[:2])
        extra = self.extra(batch, self._keys_of)
        if self.training:
            self._keys.add(torch.cat((ranks.gathered(k1), ranks.gathered(k2))))
        one = mean_of([info_nce(z1, k, self.queue, self._temperature) for k in (k2, *extra)])
        other = mean_of([info_nce(z2, k, self.queue, self._temperature) for k in (k1, *extra)])
        return self.losses_of((one + other) / 2, z1, features, batch)

    @torch.no_grad()
    def _keys_of(self, view: Tensor) -> Tensor:
        """Return the keys of a view, float[n, d] of length 1, made in groups that queries don't share."""
        if not self.training:
            return self._key(view)
        ours, count = ranks.gathered(view), ranks.size()
        shuffle = ranks.permutation(len(ours), view.device)
        set_groups(self.target, 1 if count > 1 else self._groups)
        # Pixels stay side by side in memory, where they are so.
        mixed = ours.permute(0, 2, 3, 1).index_select(0, ranks.own(shuffle)).permute(0, 3, 1, 2)
        keys = ranks.gathered(self._key(mixed))
        return ranks.own(torch.empty_like(keys).index_copy_(0, shuffle, keys))

    def _key(self, images: Tensor) -> Tensor:
        keys = self.target.projector(features_of(self.target.encoder, images))
        return F.normalize(at_least_float32(keys), dim=1)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Queue the step's keys in place of the oldest, and let the key network follow."""
        for keys in self._keys.taken():
            newest = keys[-len(self.queue) :]
            places = (self.pointer + torch.arange(len(newest), device=keys.device)) % len(self.queue)
            self.queue.index_copy_(0, places, newest.to(self.queue.dtype))
            self.pointer.add_(len(newest)).remainder_(len(self.queue))
        self.target.follow(self._momentum)

    def pair_outputs(self, view: Tensor) -> Sequence[Tensor]:
        """Return embeddings: see ``Method.pair_outputs``."""
        return (self.projector(features_of(self.encoder, view)),)


def info_nce(q: Tensor, k: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Return each query's loss, float[n], against its key and a queue of negatives (He et al. 2020, eq. 1).

    ::

        loss = -log( exp(cos(q, k) / T) / (exp(cos(q, k) / T) + sum over the queue of exp(cos(q, k') / T)) )

    Parameters
    ----------
    q
        float[n, d]
    k
        float[n, d], of length 1, without gradient.
    queue
        float[K, d], of length 1.
    """
    q = F.normalize(at_least_float32(q), dim=1)
    positive = (q * k).sum(dim=1, keepdim=True)
    logits = torch.cat((positive, q @ queue.T), dim=1) / temperature
    return torch.logsumexp(logits, dim=1) - logits[:, 0]


@dataclass(frozen=True)
class MoCo(EmbeddingConfig):
    """MoCo v2+: self-supervised, each view finds the key of the other among a queue of earlier keys.

    He et al. (2020) and Chen, Fan et al. (2020), with the symmetric loss of Chen and He (2021), table 4. The
    key network is an average of the query network's past. As published, keys are made by batch statistics
    that their queries don't share: of another rank's images, or, on one device, in random groups.
    """

    hidden: int | None = None
    """Width of the projector's hidden layer; None takes the encoder's number of features."""

    out: int = 128
    """Dimensions of query and key."""

    queue: int = 65536
    """K, the number of keys in the queue; fewer than the training set's images for small sets."""

    temperature: float = 0.2
    """T of the softmax."""

    momentum: float = 0.999
    """Momentum of the key network."""

    shuffle_groups: int = 8
    """Groups of a batch of keys that have batch statistics of their own; 1 for one. With several ranks these
    are the groups."""

    def __post_init__(self) -> None:
        check_widths(hidden=1 if self.hidden is None else self.hidden, out=self.out)
        check_widths(queue=self.queue, shuffle_groups=self.shuffle_groups)
        check_temperature("temperature", self.temperature)
        check_momentum("momentum", self.momentum)

    def build(self, encoder: nn.Module) -> MoCoMethod:
        """Return the method: see ``MethodConfig.build``."""
        return MoCoMethod(encoder, self)
