"""A method that only tests have: self-distillation of two views, without classes."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import Batch
from pipeline.targets import TargetKind
from trainer.errors import RunError
from trainer.methods import Losses, Method, Offer
from trainer.metrics import Metric
from trainer.models import check_encoder

WIDTH = 8


class SelfDistillationMethod(Method):
    """A student follows a teacher's sight of the other view, and the teacher averages the student.

    What a method can own stands in it once: a further module that is trained, a teacher that isn't, and a
    buffer that the forward pass writes.
    """

    center: Tensor

    def __init__(self, encoder: nn.Module, momentum: float) -> None:
        super().__init__(encoder)
        # It has no part in the loss.
        check_encoder(encoder).get_classifier().requires_grad_(False)
        self.projector = nn.Linear(check_encoder(encoder).num_features, WIDTH)
        self.teacher = nn.ModuleDict(
            {"encoder": copy.deepcopy(encoder), "projector": copy.deepcopy(self.projector)}
        ).requires_grad_(False)
        self.register_buffer("center", torch.zeros(WIDTH))
        self.momentum = momentum

    def forward(self, batch: Batch, **streams: Batch) -> Losses:
        views = batch.views
        ours = [self.projector(_features(self.encoder, view)) for view in views]
        with torch.no_grad():
            theirs = [self.teacher["projector"](_features(self.teacher["encoder"], view)) for view in views]
            targets = [their - self.center for their in theirs]
            self.center.lerp_(torch.cat(theirs).mean(dim=0).to(self.center.dtype), 0.1)
        similarities = [F.cosine_similarity(ours[i], targets[1 - i], dim=1) for i in range(2)]
        return Losses((2 - similarities[0] - similarities[1])[:, None])

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        weight = (1 - self.momentum) * (1 + math.cos(math.pi * progress)) / 2
        for module, follower in ((self.encoder, "encoder"), (self.projector, "projector")):
            for new, old in zip(module.parameters(), self.teacher[follower].parameters(), strict=True):
                old.lerp_(new, weight)


def _features(network: nn.Module, view: Tensor) -> Tensor:
    encoder = check_encoder(network)
    return encoder.forward_head(encoder.forward_features(view), pre_logits=True)


@dataclass(frozen=True)
class SelfDistillation:
    """Self-distillation of two views of an image."""

    momentum: float = 0.9
    """Weight of the teacher's past at the first step."""

    views: ClassVar[int] = 2
    streams: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[Mapping[str, TargetKind]] = {}
    offers: ClassVar[tuple[Offer, ...]] = ()
    metrics: ClassVar[tuple[Metric, ...]] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.momentum <= 1:
            raise RunError(f"method.momentum must be from 0 to 1; got {self.momentum:g}")

    def build(self, encoder: nn.Module) -> SelfDistillationMethod:
        """Make the method."""
        return SelfDistillationMethod(encoder, self.momentum)
