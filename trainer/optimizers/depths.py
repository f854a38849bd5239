"""Depth of parameters in their network, for layer-wise decay of the learning rate."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

NamedParameters = Sequence[tuple[str, nn.Parameter]]
"""Parameters with their names in the module, each once: ``tuple(module.named_parameters())``."""

_NUMBERED = re.compile(r"^(?:[^.]+\.)*?[^.]*\d(?:\.\d+)*(?=\.)")
"""The shortest prefix of a name that ends in a number, with the numbers that follow it."""


def depths_of(encoder: nn.Module, prefix: str = "") -> dict[str, int]:
    """Return the layer of each parameter of ``encoder`` by its name, 0 next to the images.

    That of timm's ``group_matcher``, where the network has one (Wightman 2019), else its block's number in
    the order of the named parameters: see `by_block`.

    Parameters
    ----------
    prefix
        Put before each name, as "encoder." for the parameters of a method.
    """
    matcher: Callable[..., Any] | None = getattr(encoder, "group_matcher", None)
    if matcher is None:
        found = by_block(tuple(encoder.named_parameters()))
    else:
        from timm.models import group_parameters

        layers: Mapping[str, int] = group_parameters(encoder, matcher(coarse=False), reverse=True)
        # timm numbers its head far above the last block.
        numbers = {layer: number for number, layer in enumerate(sorted(set(layers.values())))}
        found = {name: numbers[layer] for name, layer in layers.items()}
    return {prefix + name: depth for name, depth in found.items()}


def by_block(parameters: NamedParameters) -> dict[str, int]:
    """Return the number of each parameter's block, in the order in which blocks appear.

    A block is what shares a name up to its first number ("blocks.3", "layer1.0"), else a module ("head").
    What comes before the first number (tokens, positions, patches) is one block, and vectors alone, as of a
    norm, are part of the block before them.

    >>> import torch
    >>> names = {"conv1.weight": 4, "bn1.weight": 1, "layer1.0.conv1.weight": 4, "layer1.0.bn1.bias": 1,
    ...          "layer1.1.conv1.weight": 4, "fc.weight": 2, "fc.bias": 1}
    >>> list(by_block([(name, nn.Parameter(torch.ones((1,) * n))) for name, n in names.items()]).values())
    [0, 0, 1, 1, 2, 3, 3]
    """
    numbered = [_NUMBERED.match(name) for name, _ in parameters]
    begun = not any(numbered)
    blocks: dict[str, list[tuple[str, nn.Parameter]]] = {}
    for match, (name, parameter) in zip(numbered, parameters, strict=True):
        begun = begun or match is not None
        block = match[0] if match is not None else name.rpartition(".")[0] if begun else ""
        blocks.setdefault(block, []).append((name, parameter))
    depths: dict[str, int] = {}
    layers = 0
    for members in blocks.values():
        layers += any(parameter.ndim > 1 for _, parameter in members)
        depths.update({name: max(0, layers - 1) for name, _ in members})
    return depths
