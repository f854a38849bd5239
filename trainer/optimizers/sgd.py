"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from trainer.errors import RunError
from trainer.optimizers.depths import NamedParameters
from trainer.optimizers.protocol import (
    can_fuse,
    check_lr,
    check_momentum,
    check_rates,
    keep_initial_lr,
    parameter_groups,
)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum (Sutskever et al. 2013) and L2 weight decay.

    With gradient g, weights w, rate lr, momentum m and weight decay d, as torch.optim.SGD: v = m v + g + d w,
    then w = w - lr v, or with Nesterov's momentum w = w - lr (g + d w + m v).
    """

    momentum_key: ClassVar[str | None] = "momentum"

    lr: float = 0.1
    """Base learning rate; the schedule multiplies it."""

    momentum: float = 0.9
    """Momentum, unless the schedule sets it."""

    nesterov: bool = False
    """Nesterov's momentum."""

    weight_decay: float = 1e-4
    """L2 weight decay of the parameters selected by --optimizer.decay."""

    decay: Literal["weights", "all"] = "weights"
    """Which parameters to decay. weights: all but norms and biases. all: all, as in the papers' recipes."""

    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one before it; 1 trains all at one rate."""

    norm_bias_lr: float | None = None
    """Base learning rate of norms and biases; None takes lr."""

    decoupled: bool = False
    """Divide each weight decay by its base learning rate, so that weight_decay is the fraction by which the
    decay of a step at that rate shrinks the weights, without its momentum, however high the rate."""

    def __post_init__(self) -> None:
        check_rates(self.lr, self.weight_decay, self.layer_decay)
        if self.norm_bias_lr is not None:
            check_lr("norm_bias_lr", self.norm_bias_lr)
        check_momentum(self.momentum)
        if self.nesterov and self.momentum == 0:
            raise RunError(
                "optimizer.nesterov needs a momentum above 0; got 0: raise --optimizer.momentum, or leave "
                "--optimizer.nesterov out"
            )

    def build(
        self, parameters: NamedParameters, depths: Mapping[str, int] | None = None
    ) -> torch.optim.Optimizer:
        """Return the optimizer: see ``OptimizerConfig.build``."""
        groups = parameter_groups(
            parameters,
            lr=self.lr,
            weight_decay=self.weight_decay,
            decay=self.decay,
            layer_decay=self.layer_decay,
            depths=depths,
            vector_lr=self.norm_bias_lr,
            decoupled=self.decoupled,
        )
        optimizer = torch.optim.SGD(
            groups,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            fused=can_fuse(parameters),
        )
        return keep_initial_lr(optimizer)
