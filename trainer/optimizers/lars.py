"""LARS: a learning rate for each layer by the norms of its weights and gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from trainer.errors import RunError
from trainer.optimizers.depths import NamedParameters
from trainer.optimizers.protocol import check_momentum, check_rates, groups_of, keep_initial_lr
from trainer.optimizers.trust import trust_ratios


@dataclass(frozen=True)
class LARS:
    """SGD with momentum whose rate is each layer's own, for large batches (LARS, You et al. 2017).

    With gradient g, weights w, momentum m and weight decay d of a layer: v = m v + r (g + d w), then w = w -
    lr v, where r = trust ||w|| / (||g|| + d ||w||), or 1 where a norm is 0. The paper's v holds the rate too,
    which is the same while the rate is constant; here a change of the schedule acts at once. Norms and biases
    are trained by plain momentum (r = 1), as is usual, unless they are decayed.
    """

    momentum_key: ClassVar[str | None] = "momentum"

    lr: float = 4.8
    """Base learning rate; the schedule multiplies it. For 256 samples per step about 0.3, in proportion."""

    momentum: float = 0.9
    """Momentum, unless the schedule sets it."""

    trust: float = 1e-3
    """Trust coefficient: length of an update of a layer by that of its weights, at a rate of 1."""

    weight_decay: float = 1e-4
    """L2 weight decay of the parameters selected by --optimizer.decay."""

    decay: Literal["weights", "all"] = "weights"
    """Which parameters to decay, and to train by their own rate. weights: all but norms and biases. all: all,
    as in the paper."""

    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one before it; 1 trains all at one rate."""

    def __post_init__(self) -> None:
        check_rates(self.lr, self.weight_decay, self.layer_decay)
        check_momentum(self.momentum)
        if not 0 < self.trust < float("inf"):
            raise RunError(f"optimizer.trust must be above 0 and finite; got {self.trust:g}")

    def build(
        self, parameters: NamedParameters, depths: Mapping[str, int] | None = None
    ) -> torch.optim.Optimizer:
        """Return the optimizer: see ``OptimizerConfig.build``."""
        groups = groups_of(self, parameters, depths)
        return keep_initial_lr(LARSOptimizer(groups, momentum=self.momentum, trust=self.trust))


class LARSOptimizer(torch.optim.Optimizer):
    """LARS over lists of tensors at once.

    Parameters
    ----------
    groups
        As `parameter_groups` makes them; those of "vectors" are trained without trust ratios.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], *, momentum: float, trust: float) -> None:
        super().__init__(groups, {"momentum": momentum, "trust": trust})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient, without waiting for the device."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad for weight in weights]
            updates = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
            if not group["vectors"]:
                ratios = trust_ratios(weights, gradients, group["trust"], group["weight_decay"])
                torch._foreach_mul_(updates, ratios)
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
            velocities = [self.state[weight]["momentum_buffer"] for weight in weights]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, updates)
            torch._foreach_add_(weights, velocities, alpha=-group["lr"])
