"""DINO: a student's distribution over learned prototypes follows a teacher's of the other view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import Batch
from trainer.errors import RunError
from trainer.hardware.precision import at_least_float32
from trainer.methods import ranks
from trainer.methods.embedding import EmbeddingConfig, EmbeddingMethod, features_of, mean_of, width_of
from trainer.methods.heads import check_widths
from trainer.methods.pending import Pending
from trainer.methods.protocol import Losses
from trainer.methods.target import Target, check_momentum, check_temperature, cosine_momentum


class DINOHead(nn.Module):
    """Three layers to an embedding of length 1, and its products with unit prototypes."""

    def __init__(self, width: int, config: DINO) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before in (width, config.hidden):
            layers.append(nn.Linear(before, config.hidden))
            if config.batch_norm:
                layers.append(nn.BatchNorm1d(config.hidden))
            layers.append(nn.GELU())
        self.layers = nn.Sequential(*layers, nn.Linear(config.hidden, config.bottleneck))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                # Its truncation, at 100 standard deviations, makes no difference, and trunc_normal_ draws
                # other numbers from one version of PyTorch to the next.
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        # Weight normalization with gains that stay 1: its direction alone is learned.
        self.prototypes = nn.Linear(config.bottleneck, config.out, bias=False)

    def embedding(self, features: Tensor) -> Tensor:
        """Return embeddings float[n, bottleneck], of length 1, of features float[n, d]."""
        return F.normalize(at_least_float32(self.layers(features)), dim=1)

    def products(self, embedding: Tensor) -> Tensor:
        """Return products with the prototypes, float[n, K], of embeddings."""
        return F.linear(embedding, F.normalize(self.prototypes.weight, dim=1))

    def forward(self, features: Tensor) -> Tensor:
        """Return products with the prototypes, float[n, K], of features float[n, d]."""
        return self.products(self.embedding(features))


class DINOMethod(EmbeddingMethod):
    """Two views through a student, and through a teacher that is an average of its past.

    Attributes
    ----------
    center
        float[K], average of the teacher's outputs, which is subtracted from them.
    gate
        float[], 0 while the prototypes stay as they are, then 1.
    """

    center: Tensor
    gate: Tensor

    def __init__(self, encoder: nn.Module, config: DINO) -> None:
        super().__init__(encoder, linear=config.linear)
        self.projector = DINOHead(width_of(encoder), config)
        self.target = Target(encoder, self.projector)
        first = next(encoder.parameters())
        self.register_buffer("center", torch.zeros(config.out, dtype=first.dtype, device=first.device))
        gate = torch.tensor(float(config.frozen <= 0), dtype=first.dtype, device=first.device)
        self.register_buffer("gate", gate)
        hook = self.projector.prototypes.weight.register_hook
        hook(lambda gradient: gradient * self.gate)  # type: ignore[no-untyped-call]
        self._outputs = Pending(self)
        self._config = config

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        """Return the loss of each image: see ``Method.forward``."""
        config = self._config
        features = [features_of(self.encoder, view) for view in batch.views[:2]]
        embeddings = [self.projector.embedding(one) for one in features]
        s1, s2 = (self.projector.products(one) for one in embeddings)
        with torch.no_grad():
            t1, t2 = (self._meant(view) for view in batch.views[:2])
        if self.training:
            self._outputs.add(ranks.mean((t1.mean(dim=0) + t2.mean(dim=0)) / 2))
        temperatures = config.student_temperature, config.teacher_temperature
        loss = dino_loss(s1, s2, t1, t2, self.center, *temperatures, self.extra(batch, self._meant))
        return self.losses_of(loss, embeddings[0], features, batch)

    def _meant(self, view: Tensor) -> Tensor:
        outputs: Tensor = self.target.projector(features_of(self.target.encoder, view))
        return outputs

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the center and the teacher, and set whether prototypes are trained in the next step."""
        for mean in self._outputs.taken():
            self.center.lerp_(mean.to(self.center.dtype), 1 - self._config.center_momentum)
        self.target.follow(cosine_momentum(self._config.momentum, progress))
        self.gate.fill_(float(progress >= self._config.frozen))

    def pair_outputs(self, view: Tensor) -> Sequence[Tensor]:
        """Return the student's outputs and embeddings: see ``Method.pair_outputs``."""
        embedding = self.projector.embedding(features_of(self.encoder, view))
        return self.projector.products(embedding), embedding

    def pair_losses(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return cross-entropies of the student's own outputs: see ``Method.pair_losses``."""
        config = self._config
        said = torch.log_softmax(outputs[0] / config.student_temperature, dim=2)
        meant = torch.softmax((outputs[0] - self.center) / config.teacher_temperature, dim=2)
        entropies = -(meant @ said.transpose(1, 2))
        return (entropies + entropies.transpose(1, 2)) / 2


def dino_loss(
    s1: Tensor,
    s2: Tensor,
    t1: Tensor,
    t2: Tensor,
    center: Tensor,
    student_temperature: float,
    teacher_temperature: float,
    extra: Sequence[Tensor] = (),
) -> Tensor:
    """Return each image's loss, float[n], of a student's and a teacher's outputs float[n, K] for its views.

    Without gradient into the teacher's (Caron et al. 2021, eq. 2 and 3), with center c ::

        loss = 1/2 H(t1, s2) + 1/2 H(t2, s1),    H(t, s) = -sum over k of t_k log s_k
        s = softmax(student / T_s),    t = softmax((teacher - c) / T_t)

    With extra outputs of the teacher's each cross-entropy is the mean over t and those.
    """
    said = [torch.log_softmax(at_least_float32(s) / student_temperature, dim=1) for s in (s1, s2)]
    first, second, *others = (
        torch.softmax((at_least_float32(t.detach()) - center) / teacher_temperature, dim=1)
        for t in (t1, t2, *extra)
    )
    one = mean_of([(t * said[1]).sum(dim=1) for t in (first, *others)])
    other = mean_of([(t * said[0]).sum(dim=1) for t in (second, *others)])
    return -(one + other) / 2


@dataclass(frozen=True)
class DINO(EmbeddingConfig):
    """DINO: self-supervised distillation, a student says of each view what its teacher says of the other.

    Caron et al. (2021), of two large views, without small ones. The teacher is an average of the student's
    past; its outputs are centered and sharpened against collapse. What is evaluated is the student's encoder.
    Published with gradients clipped to a norm of 3, per weight; `--clip-norm 3` clips that of all together.
    """

    hidden: int = 2048
    """Width of the head's hidden layers."""

    bottleneck: int = 256
    """Dimensions of the embedding."""

    out: int = 65536
    """K, the number of prototypes."""

    batch_norm: bool = False
    """Whether the head's hidden layers have batch normalization."""

    student_temperature: float = 0.1
    """T_s of the student's softmax."""

    teacher_temperature: float = 0.04
    """T_t of the teacher's softmax."""

    momentum: float = 0.996
    """Momentum of the teacher at the first step; it grows to 1 by half a cosine."""

    center_momentum: float = 0.9
    """Momentum of the center of the teacher's outputs."""

    frozen: float = 0.01
    """Fraction of the run for which the prototypes stay as they are: published, one epoch (of 100)."""

    def __post_init__(self) -> None:
        check_widths(hidden=self.hidden, bottleneck=self.bottleneck, out=self.out)
        check_temperature("student_temperature", self.student_temperature)
        check_temperature("teacher_temperature", self.teacher_temperature)
        check_momentum("momentum", self.momentum)
        check_momentum("center_momentum", self.center_momentum)
        if not 0 <= self.frozen <= 1:
            raise RunError(f"method.frozen must be from 0 to 1, a fraction of the run; got {self.frozen:g}")

    def build(self, encoder: nn.Module) -> DINOMethod:
        """Return the method: see ``MethodConfig.build``."""
        return DINOMethod(encoder, self)
