"""Muon: hidden weights are updated by orthogonal matrices, the others by AdamW or SGD."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from trainer.errors import RunError
from trainer.optimizers.depths import NamedParameters, by_block
from trainer.optimizers.protocol import (
    can_fuse,
    check_lr,
    check_momentum,
    check_rates,
    keep_initial_lr,
    parameter_groups,
)

_COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of the quintic iteration; chosen by Jordan (2024) to be steep at 0, so that 5 iterations do."""

_EPS = 1e-7

_REST_LR = {"adamw": 3e-4, "sgd": 0.05}


@dataclass(frozen=True)
class Muon:
    """Momentum made orthogonal for hidden matrices and convolutions, AdamW or SGD for the rest (Muon).

    Jordan (2024). With gradient g, momentum m, weights w and weight decay d of a matrix: v = m v + (1 - m) g,
    then w = (1 - lr d) w - lr sqrt(max(1, rows / columns)) O, where O is (1 - m) g + m v with its singular
    values brought near 1 by Newton-Schulz iterations. A convolution is a matrix, one row per output channel.
    Hidden are all weights of two or four dimensions between the first and the last one of the network; these
    two, norms, biases and embeddings are the rest. All are updated by one step of one optimizer.

    With ``filters`` and ``normalized`` it is that of Jordan's CIFAR records (airbench94_muon, 2024): all
    convolutions that are trained, each scaled before its update to a root mean square of its filters' norms
    of 1.
    """

    momentum_key: ClassVar[str | None] = None

    lr: float = 0.02
    """Base learning rate of hidden matrices; the schedule multiplies it."""

    momentum: float = 0.95
    """Momentum of hidden matrices."""

    nesterov: bool = True
    """Nesterov's momentum of hidden matrices; without, O is made of v."""

    iterations: int = 5
    """Newton-Schulz iterations of each update."""

    matrices: Literal["hidden", "filters"] = "hidden"
    """Which weights are made orthogonal. hidden: all but the first and the last. filters: those of all
    convolutions, and no others."""

    normalized: bool = False
    """Scale each of these weights before its update so that its norm is the root of its number of rows;
    their weight decay then has no effect."""

    rest: Literal["adamw", "sgd"] = "adamw"
    """Optimizer of the rest. adamw: betas .9 and .95. sgd: Nesterov's momentum."""

    rest_lr: float | None = None
    """Base learning rate of the rest; None takes 3e-4 for adamw, 0.05 for sgd."""

    rest_momentum: float = 0.9
    """Momentum of the rest, for sgd."""

    norm_bias_lr: float | None = None
    """Base learning rate of norms and biases; None takes that of the rest."""

    decoupled: bool = False
    """For sgd, divide each weight decay of the rest by its base learning rate: see --optimizer sgd."""

    weight_decay: float = 0.01
    """Weight decay of the parameters selected by --optimizer.decay."""

    decay: Literal["weights", "all"] = "weights"
    """Which parameters to decay. weights: all but norms and biases. all: all."""

    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one before it; 1 trains all at one rate."""

    def __post_init__(self) -> None:
        check_rates(self.lr, self.weight_decay, self.layer_decay)
        check_momentum(self.momentum)
        for option in ("rest_lr", "norm_bias_lr"):
            if (lr := getattr(self, option)) is not None:
                check_lr(option, lr)
        if not 0 < self.rest_momentum < 1:
            raise RunError(
                f"optimizer.rest_momentum must be above 0 and below 1, as it is Nesterov's; got "
                f"{self.rest_momentum:g}"
            )
        if self.decoupled and self.rest == "adamw":
            raise RunError("optimizer.decoupled is for rest sgd: adamw's weight decay is decoupled as it is")
        if not 1 <= self.iterations < 100:
            raise RunError(f"optimizer.iterations must be at least 1 and below 100; got {self.iterations}")

    def build(
        self, parameters: NamedParameters, depths: Mapping[str, int] | None = None
    ) -> torch.optim.Optimizer:
        """Return the optimizer: see ``OptimizerConfig.build``."""
        if depths is None:
            # Of all parameters: each of the two sorts alone has other blocks.
            depths = by_block(parameters)
        inner = filters(parameters) if self.matrices == "filters" else hidden(parameters)
        rest_lr = _REST_LR[self.rest] if self.rest_lr is None else self.rest_lr
        matrices, others = (
            parameter_groups(
                tuple(item for item in parameters if (item[0] in inner) == is_hidden),
                lr=lr,
                weight_decay=self.weight_decay,
                decay=self.decay,
                layer_decay=self.layer_decay,
                depths=depths,
                vector_lr=None if is_hidden else self.norm_bias_lr,
                decoupled=self.decoupled and not is_hidden,
            )
            for is_hidden, lr in ((True, self.lr), (False, rest_lr))
        )
        if not others:
            raise RunError(
                "optimizer muon needs parameters beside those that it makes orthogonal; got none: take "
                "--optimizer.matrices hidden"
            )
        for group in matrices:
            group.update(
                momentum=self.momentum,
                nesterov=self.nesterov,
                iterations=self.iterations,
                normalized=self.normalized,
            )
        fused = can_fuse(parameters)
        rest: torch.optim.Optimizer
        if self.rest == "adamw":
            rest = torch.optim.AdamW(others, lr=rest_lr, betas=(0.9, 0.95), fused=fused)
        else:
            rest = torch.optim.SGD(
                others, lr=rest_lr, momentum=self.rest_momentum, nesterov=True, fused=fused
            )
        return keep_initial_lr(MuonOptimizer(matrices, rest))


def hidden(parameters: NamedParameters) -> set[str]:
    """Return the names of the weights that Muon updates: matrices and kernels but for the first and the last.

    Embeddings of positions and tokens, and scales of channels, aren't named "weight" and have other shapes.
    """
    named = [name for name, value in parameters if value.ndim in (2, 4) and name.endswith("weight")]
    return set(named[1:-1])


def filters(parameters: NamedParameters) -> set[str]:
    """Return the names of all weights of convolutions."""
    return {name for name, value in parameters if value.ndim == 4 and name.endswith("weight")}


class MuonOptimizer(torch.optim.Optimizer):
    """Muon of some groups and another optimizer of the others, with one step, state and list of groups.

    Parameters
    ----------
    matrices
        Groups of weights of two or four dimensions, with "momentum", "nesterov", "iterations" and
        "normalized".
    rest
        Has the other groups; at least one.
    """

    def __init__(self, matrices: Sequence[dict[str, Any]], rest: torch.optim.Optimizer) -> None:
        self._rest = rest
        super().__init__([*matrices, *rest.param_groups], {})

    def _share(self) -> None:
        """Let the rest's optimizer work on this one's groups and state."""
        self._rest.param_groups = [group for group in self.param_groups if "iterations" not in group]
        self._rest.state = self.state

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, of the rest unless it has "iterations"."""
        super().add_param_group(param_group)
        self._share()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over groups and state, as on loading a state dict."""
        super().__setstate__(state)
        self._share()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient, without waiting for the device."""
        for group in self.param_groups:
            if "iterations" in group:
                self._step_matrices(group)
        self._rest.step()

    def _step_matrices(self, group: dict[str, Any]) -> None:
        weights = [weight for weight in group["params"] if weight.grad is not None]
        if not weights:
            return
        gradients = [weight.grad for weight in weights]
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        velocities = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_lerp_(velocities, gradients, 1 - group["momentum"])
        updates = (
            torch._foreach_lerp(gradients, velocities, group["momentum"]) if group["nesterov"] else velocities
        )
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        # A checkpoint of an earlier version has groups without it.
        if group.get("normalized"):
            norms = torch._foreach_norm(weights)
            torch._foreach_div_(norms, [len(weight) ** 0.5 for weight in weights])
            torch._foreach_div_(weights, norms)
        shapes: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, update in enumerate(updates):
            shapes[tuple(update.shape)].append(index)
        # Matrices of one shape are multiplied together: a GPU would wait for many small products.
        for indices in shapes.values():
            stacked = torch.stack([updates[i] for i in indices])
            made = orthogonalized(stacked.flatten(2), group["iterations"])
            rows, columns = made.shape[1:]
            made = made.reshape(stacked.shape)
            rate = group["lr"] * max(1.0, rows / columns) ** 0.5
            torch._foreach_add_([weights[i] for i in indices], list(made.unbind()), alpha=-rate)


def orthogonalized(matrices: Tensor, iterations: int) -> Tensor:
    """Return matrices with the same singular vectors, and singular values near 1 (within about 0.3).

    Jordan's (2024) Newton-Schulz iterations, X = a X + (b A + c A A) X with A = X X^T, from X of norm 1. On
    GPUs in bfloat16, as he computes them, else in the matrices' own type.

    Parameters
    ----------
    matrices
        float[n, rows, columns]

    Returns
    -------
    Tensor
        Of the same shape and type.
    """
    a, b, c = _COEFFICIENTS
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + _EPS)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = x.mT if tall else x
    return found.to(matrices.dtype)
