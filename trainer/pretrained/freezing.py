"""Frozen parts of a network: weights and statistics of batch normalization that keep their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.errors import RunError
from trainer.models import check_encoder

BACKBONE = "backbone"
"""Name for everything but the classifier."""


def freeze(network: nn.Module, names: Sequence[str]) -> nn.Module:
    """Return ``network`` with some of its parameters frozen: they require no gradient.

    Batch normalization in a frozen part stays in evaluation mode, whatever mode the network is in: it
    normalizes by the statistics that it has, and gathers none.

    Parameters
    ----------
    names
        Prefixes of parameters' names that end at a dot ("layer1" is "layer1.0.conv1.weight" and not
        "layer10.weight"), or "backbone".

    Raises
    ------
    RunError
        When nothing has such a prefix; or for "backbone", when the network doesn't tell its classifier.
    """
    for name in names:
        frozen = _backbone(network) if name == BACKBONE else below(network, name, "freeze")
        for parameter in frozen:
            network.get_parameter(parameter).requires_grad_(False)
    if names:
        for module in network.modules():
            # Where a normalization has no weights, those around it tell.
            own = list(module.parameters(recurse=False))
            if isinstance(module, _BatchNorm) and own and not any(p.requires_grad for p in own):
                module.__class__ = _frozen(type(module))
                module.eval()
    return network


def _backbone(network: nn.Module) -> list[str]:
    kept = {id(parameter) for parameter in check_encoder(network).get_classifier().parameters()}
    return [name for name, parameter in network.named_parameters() if id(parameter) not in kept]


def below(network: nn.Module, prefix: str, setting: str) -> list[str]:
    """Return the names of the parameters with a prefix that ends at a dot.

    Raises
    ------
    RunError
        When there are none; the line names ``setting``, and the network's parts.
    """
    names = [name for name, _ in network.named_parameters()]
    found = [name for name in names if f"{name}.".startswith(f"{prefix.rstrip('.')}.")]
    if not found:
        depth = prefix.count(".") + 1
        known = dict.fromkeys(".".join(name.split(".")[:depth]) for name in names)
        listed = list(known) if len(known) <= _MOST_LISTED else [*list(known)[:_MOST_LISTED], "..."]
        all_but = f", or {BACKBONE} for all but the classifier" if setting == "freeze" else ""
        raise RunError(
            f"{setting} must name parts of the network{all_but}; got "
            f"{prefix!r}, and {type(network).__name__} has {', '.join(listed)}"
        )
    return found


_MOST_LISTED = 20


class Frozen:
    """A module that is always in evaluation mode."""

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        trained: Self = super().train(False)  # type: ignore[misc]
        return trained


class FrozenBatchNorm2d(Frozen, nn.BatchNorm2d):
    """Batch normalization by the statistics that it has."""


_FROZEN: dict[type[Any], type[Any]] = {nn.BatchNorm2d: FrozenBatchNorm2d}


def _frozen(cls: type[Any]) -> type[Any]:
    if issubclass(cls, Frozen):
        return cls
    if cls not in _FROZEN:
        _FROZEN[cls] = type(f"Frozen{cls.__name__}", (Frozen, cls), {})
    return _FROZEN[cls]
