"""Protocol of optimizers: options that build a torch optimizer with parameter groups of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import nn

from trainer.errors import RunError
from trainer.optimizers.depths import NamedParameters, by_block

Decay = Literal["weights", "all"]

_FUSED = ("cpu", "cuda")
"""Devices on which one kernel updates all parameters of a group."""


class OptimizerConfig(Protocol):
    """Config of an optimizer: a frozen dataclass of its options."""

    momentum_key: ClassVar[str | None]
    """Key of the parameter groups to which a schedule's momentum is written, of a tuple (Adam's betas) as its
    first entry; None if there is no momentum, and such a schedule sets only the learning rate."""

    @property
    def lr(self) -> float:
        """Base learning rate."""

    def build(
        self, parameters: NamedParameters, depths: Mapping[str, int] | None = None
    ) -> torch.optim.Optimizer:
        """Return an optimizer of ``parameters``, each in exactly one group, on any device.

        Every group has an "initial_lr", which the training loop multiplies by the schedule's factor before
        each step to get the group's "lr". One call of ``step`` updates all groups.

        Parameters
        ----------
        parameters
            At least one; norms and biases are recognized by shape and name.
        depths
            Layer of each parameter by name, 0 next to the images, for layer-wise decay; those without are in
            the last. None takes their blocks by their names (see `trainer.optimizers.depths`).
        """


def parameter_groups(
    parameters: NamedParameters,
    *,
    lr: float,
    weight_decay: float,
    decay: Decay,
    layer_decay: float = 1.0,
    depths: Mapping[str, int] | None = None,
    vector_lr: float | None = None,
    decoupled: bool = False,
) -> list[dict[str, Any]]:
    """Return parameter groups of decayed parameters and of others, with layer-wise decay for each layer.

    Norms and biases are those of at most one dimension or named "bias", as in timm (Wightman 2019). The order
    within a group is that of ``parameters``; no group is empty. Each has an "lr", a "weight_decay", and as
    "vectors" whether it holds what is spared weight decay.

    Parameters
    ----------
    lr
        Learning rate of the last layer.
    weight_decay
        Weight decay of the decayed groups; that of the others is 0.
    decay
        "all" spares no parameter.
    layer_decay
        Factor of the learning rate from each layer to the one before it (Clark et al. 2020, Bao et al. 2022).
    depths
        See ``OptimizerConfig.build``.
    vector_lr
        Learning rate of norms and biases; None takes ``lr``.
    decoupled
        Whether ``weight_decay`` is the fraction by which a step shrinks weights, for an optimizer that adds
        decay to gradients: each group's is divided by its learning rate.
    """
    if layer_decay == 1:
        depths = {}
    elif depths is None:
        depths = by_block(parameters)
    top = max(depths.values(), default=0)
    chosen: dict[tuple[int, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        vector = _is_norm_or_bias(name, parameter)
        spared, apart = decay == "weights" and vector, vector_lr is not None and vector
        chosen.setdefault((depths.get(name, top), spared, apart), []).append(parameter)
    groups = []
    for (depth, spared, apart), members in sorted(chosen.items(), key=lambda item: item[0]):
        rate = lr if vector_lr is None or not apart else vector_lr
        rate *= layer_decay ** (top - depth)
        shrinks = 0.0 if spared else weight_decay
        groups.append(
            {
                "params": members,
                "lr": rate,
                "weight_decay": shrinks / rate if decoupled else shrinks,
                "vectors": spared,
            }
        )
    return groups


class Grouped(Protocol):
    """Options of an optimizer that trains all its parameters alike."""

    @property
    def lr(self) -> float:
        """Base learning rate."""

    @property
    def weight_decay(self) -> float:
        """Weight decay of the decayed parameters."""

    @property
    def decay(self) -> Decay:
        """Which parameters to decay."""

    @property
    def layer_decay(self) -> float:
        """Factor of the learning rate from each layer to the one before it."""


def groups_of(
    config: Grouped, parameters: NamedParameters, depths: Mapping[str, int] | None
) -> list[dict[str, Any]]:
    """Return `parameter_groups` by an optimizer's own options."""
    return parameter_groups(
        parameters,
        lr=config.lr,
        weight_decay=config.weight_decay,
        decay=config.decay,
        layer_decay=config.layer_decay,
        depths=depths,
    )


def _is_norm_or_bias(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim <= 1 or name.rpartition(".")[2] == "bias"


def keep_initial_lr(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return ``optimizer`` with each group's learning rate kept as its "initial_lr"."""
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def can_fuse(parameters: NamedParameters) -> bool:
    """Return whether torch has fused updates for the devices of ``parameters``."""
    return all(parameter.device.type in _FUSED for _, parameter in parameters)


def check_rates(lr: float, weight_decay: float, layer_decay: float) -> None:
    """Raise RunError unless an optimizer's learning rate, weight decay and layer-wise decay are in range."""
    check_lr("lr", lr)
    if not 0 <= weight_decay < math.inf:
        raise RunError(f"optimizer.weight_decay must be at least 0 and finite; got {weight_decay:g}")
    if not 0 < layer_decay <= 1:
        raise RunError(f"optimizer.layer_decay must be above 0 and at most 1; got {layer_decay:g}")


def check_lr(option: str, lr: float) -> None:
    """Raise RunError unless a base learning rate is finite and above 0."""
    if not 0 < lr < math.inf:
        raise RunError(f"optimizer.{option} must be above 0 and finite; got {lr:g}")


def check_momentum(momentum: float) -> None:
    """Raise RunError unless a momentum is in [0, 1)."""
    if not 0 <= momentum < 1:
        raise RunError(f"optimizer.momentum must be at least 0 and below 1; got {momentum:g}")


def check_betas(betas: tuple[float, float], eps: float) -> None:
    """Raise RunError unless the options of Adam's averages are in range."""
    if not all(0 <= beta < 1 for beta in betas):
        raise RunError(
            f"optimizer.betas must both be at least 0 and below 1; got {betas[0]:g} and {betas[1]:g}"
        )
    if not 0 < eps < math.inf:
        raise RunError(f"optimizer.eps must be above 0 and finite; got {eps:g}")
