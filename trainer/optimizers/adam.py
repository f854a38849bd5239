"""Adam, and AdamW whose weight decay is its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from trainer.optimizers.depths import NamedParameters
from trainer.optimizers.protocol import (
    can_fuse,
    check_betas,
    check_rates,
    groups_of,
    keep_initial_lr,
)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015) with L2 weight decay.

    With gradient g + d w, at step t: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, then w = w - lr m' /
    (sqrt(v') + eps), where m' = m / (1 - b1^t) and v' = v / (1 - b2^t).
    """

    momentum_key: ClassVar[str | None] = "betas"

    lr: float = 1e-3
    """Base learning rate; the schedule multiplies it."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the averages of the gradient and of its square; the schedule may set the first."""

    eps: float = 1e-8
    """Added to the denominator."""

    weight_decay: float = 0.0
    """L2 weight decay of the parameters selected by --optimizer.decay."""

    decay: Literal["weights", "all"] = "weights"
    """Which parameters to decay. weights: all but norms and biases. all: all."""

    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one before it; 1 trains all at one rate."""

    def __post_init__(self) -> None:
        check_rates(self.lr, self.weight_decay, self.layer_decay)
        check_betas(self.betas, self.eps)

    def build(
        self, parameters: NamedParameters, depths: Mapping[str, int] | None = None
    ) -> torch.optim.Optimizer:
        """Return the optimizer: see ``OptimizerConfig.build``."""
        return _build(torch.optim.Adam, self, parameters, depths)


@dataclass(frozen=True)
class AdamW:
    """AdamW: Adam whose weight decay is apart from the gradient (Loshchilov and Hutter 2019).

    As Adam with the gradient alone in m and v, and w = (1 - lr d) w before each update. The defaults are
    those of vision transformers (Touvron et al. 2021).
    """

    momentum_key: ClassVar[str | None] = "betas"

    lr: float = 1e-3
    """Base learning rate; the schedule multiplies it."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the averages of the gradient and of its square; the schedule may set the first."""

    eps: float = 1e-8
    """Added to the denominator."""

    weight_decay: float = 0.05
    """Weight decay of the parameters selected by --optimizer.decay, times the learning rate at each step."""

    decay: Literal["weights", "all"] = "weights"
    """Which parameters to decay. weights: all but norms and biases. all: all."""

    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one before it: .65 to .75 to fine-tune a pretrained
    transformer (Bao et al. 2022); 1 trains all at one rate."""

    def __post_init__(self) -> None:
        check_rates(self.lr, self.weight_decay, self.layer_decay)
        check_betas(self.betas, self.eps)

    def build(
        self, parameters: NamedParameters, depths: Mapping[str, int] | None = None
    ) -> torch.optim.Optimizer:
        """Return the optimizer: see ``OptimizerConfig.build``."""
        return _build(torch.optim.AdamW, self, parameters, depths)


def _build(
    kind: type[torch.optim.Adam],
    part: Adam | AdamW,
    parameters: NamedParameters,
    depths: Mapping[str, int] | None,
) -> torch.optim.Optimizer:
    groups = groups_of(part, parameters, depths)
    fused = can_fuse(parameters)
    return keep_initial_lr(kind(groups, lr=part.lr, betas=part.betas, eps=part.eps, fused=fused))
