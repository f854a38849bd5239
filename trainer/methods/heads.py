"""Heads of self-supervised methods: small perceptrons on an encoder's features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

from trainer.errors import RunError

Last = Literal["linear", "normalized", "standardized"]
"""Last layer of a perceptron: linear with a bias; with batch normalization behind it; or with one that has no
scale and shift of its own."""


def perceptron(widths: Sequence[int], *, last: Last = "linear", hidden_norm: bool = True) -> nn.Sequential:
    """Return linear layers from ``widths[0]`` to ``widths[-1]``, with normalization and ReLU between them.

    A linear layer in front of batch normalization has no bias, which would be subtracted again.

    Parameters
    ----------
    widths
        At least two.
    last
        What the last layer is.
    hidden_norm
        Whether the layers between are normalized.
    """
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise(widths)):
        final = index == len(widths) - 2
        normalized = last != "linear" if final else hidden_norm
        layers.append(nn.Linear(before, after, bias=not normalized))
        if normalized:
            layers.append(nn.BatchNorm1d(after, affine=not final or last != "standardized"))
        if not final:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def check_widths(**widths: int) -> None:
    """Refuse widths below 1, as a RunError that names the option of the method."""
    for name, width in widths.items():
        if width < 1:
            raise RunError(f"method.{name} must be at least 1; got {width}")
