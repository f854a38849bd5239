"""Protocol of optimizers: options that build a torch optimizer with parameter groups of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import nn

from trainer.errors import RunError

NamedParameters = Sequence[tuple[str, nn.Parameter]]
"""Parameters with their names in the module, each once: ``tuple(module.named_parameters())``."""

Decay = Literal["weights", "all"]

_FUSED = ("cpu", "cuda")
"""Devices on which one kernel updates all parameters of a group."""


class OptimizerConfig(Protocol):
    """Config of an optimizer: a frozen dataclass of its options."""

    momentum_key: ClassVar[str | None]
    """Key of the parameter groups to which a schedule's momentum is written; None if there is no momentum,
    and such a schedule sets only the learning rate."""

    @property
    def lr(self) -> float:
        """Base learning rate."""

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer:
        """Return an optimizer of ``parameters``, each in exactly one group, on any device.

        Every group has an "initial_lr", which the training loop multiplies by the schedule's factor before
        each step to get the group's "lr".

        Parameters
        ----------
        parameters
            At least one; norms and biases are recognized by shape and name.
        """


def decay_groups(parameters: NamedParameters, weight_decay: float, decay: Decay) -> list[dict[str, Any]]:
    """Return parameter groups of decayed parameters and of others.

    Norms and biases are those of at most one dimension or named "bias", as in timm (Wightman 2019). The order
    within a group is that of ``parameters``; no group is empty.

    Parameters
    ----------
    weight_decay
        Weight decay of the decayed group; that of the other group is 0.
    decay
        "all" puts all parameters into one group.
    """
    apart = [_is_norm_or_bias(name, parameter) and decay == "weights" for name, parameter in parameters]
    groups = []
    for kept, amount in ((False, weight_decay), (True, 0.0)):
        chosen = [
            parameter for (_, parameter), is_apart in zip(parameters, apart, strict=True) if is_apart == kept
        ]
        if chosen:
            groups.append({"params": chosen, "weight_decay": amount})
    return groups


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


def check_lr(lr: float) -> None:
    """Raise RunError unless a base learning rate is finite and above 0."""
    if not 0 < lr < math.inf:
        raise RunError(f"optimizer.lr must be above 0 and finite; got {lr:g}")


def check_weight_decay(weight_decay: float) -> None:
    """Raise RunError unless a weight decay is finite and at least 0."""
    if not 0 <= weight_decay < math.inf:
        raise RunError(f"optimizer.weight_decay must be at least 0 and finite; got {weight_decay:g}")
