"""LAMB: Adam's updates, each layer's as long as its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from trainer.optimizers.depths import NamedParameters
from trainer.optimizers.protocol import check_betas, check_rates, groups_of, keep_initial_lr
from trainer.optimizers.trust import trust_ratios


@dataclass(frozen=True)
class LAMB:
    """Adam whose rate is each layer's own, for large batches (LAMB, You et al. 2020, algorithm 2).

    With Adam's averages m' and v', weights w and weight decay d of a layer: u = m' / (sqrt(v') + eps) + d w,
    then w = w - lr r u, where r = ||w|| / ||u||, or 1 where a norm is 0. Norms and biases are trained with
    r = 1, as is usual, unless they are decayed.
    """

    momentum_key: ClassVar[str | None] = "betas"

    lr: float = 5e-3
    """Base learning rate; the schedule multiplies it."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the averages of the gradient and of its square; the schedule may set the first."""

    eps: float = 1e-6
    """Added to the denominator."""

    weight_decay: float = 0.02
    """Weight decay of the parameters selected by --optimizer.decay, a part of the update."""

    decay: Literal["weights", "all"] = "weights"
    """Which parameters to decay, and to train by their own rate. weights: all but norms and biases. all: all,
    as in the paper."""

    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one before it; 1 trains all at one rate."""

    def __post_init__(self) -> None:
        check_rates(self.lr, self.weight_decay, self.layer_decay)
        check_betas(self.betas, self.eps)

    def build(
        self, parameters: NamedParameters, depths: Mapping[str, int] | None = None
    ) -> torch.optim.Optimizer:
        """Return the optimizer: see ``OptimizerConfig.build``."""
        groups = groups_of(self, parameters, depths)
        return keep_initial_lr(LAMBOptimizer(groups, betas=self.betas, eps=self.eps))


class LAMBOptimizer(torch.optim.Optimizer):
    """LAMB over lists of tensors at once. Each group counts its steps as "steps".

    Parameters
    ----------
    groups
        As `parameter_groups` makes them; those of "vectors" are trained without trust ratios.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], *, betas: tuple[float, float], eps: float) -> None:
        super().__init__(groups, {"betas": betas, "eps": eps, "steps": 0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient, without waiting for the device."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad for weight in weights]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight].update(mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
            means = [self.state[weight]["mean"] for weight in weights]
            squares = [self.state[weight]["square"] for weight in weights]
            group["steps"] += 1
            (first, second), steps = group["betas"], group["steps"]
            torch._foreach_lerp_(means, gradients, 1 - first)
            torch._foreach_mul_(squares, second)
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
            updates = torch._foreach_sqrt(squares)
            torch._foreach_div_(updates, math.sqrt(1 - second**steps))
            torch._foreach_add_(updates, group["eps"])
            torch._foreach_mul_(updates, 1 - first**steps)
            updates = torch._foreach_div(means, updates)
            torch._foreach_add_(updates, weights, alpha=group["weight_decay"])
            if not group["vectors"]:
                torch._foreach_mul_(updates, trust_ratios(weights, updates))
            torch._foreach_add_(weights, updates, alpha=-group["lr"])
