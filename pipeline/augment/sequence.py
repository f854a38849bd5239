"""Sequences of augmentations: random streams, sizes, and prefixed draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.protocol import Augment, Draws
from pipeline.randomness import Keys


def scopes(parts: Sequence[Augment]) -> tuple[str, ...]:
    """Return a scope for each part's streams, so that parts of the same kind draw independently."""
    seen: dict[type[Augment], int] = {}
    names = []
    for part in parts:
        seen[type(part)] = seen.get(type(part), 0) + 1
        names.append("" if seen[type(part)] == 1 else f"{seen[type(part)]}/")
    return tuple(names)


def size_after(part: Augment, height: int, width: int) -> tuple[int, int]:
    """Return a part's output height and width for images of ``height`` x ``width`` pixels."""
    # getattr, because isinstance with the protocol `Resizing` takes as long as drawing for a batch.
    size_of: Callable[[int, int], tuple[int, int]] | None = getattr(part, "size_of", None)
    return (height, width) if size_of is None else size_of(height, width)


def draw_in_turn(
    parts: Sequence[Augment], keys: Keys, height: int, width: int
) -> dict[str, NDArray[np.generic]]:
    """Draw for each part k, with names ``k/...``, in streams scoped by ``keys.scope``."""
    drawn: dict[str, NDArray[np.generic]] = {}
    for k, (part, scope) in enumerate(zip(parts, scopes(parts), strict=True)):
        for name, array in part.draw(replace(keys, scope=keys.scope + scope), height, width).items():
            drawn[f"{k}/{name}"] = array
        height, width = size_after(part, height, width)
    return drawn


def apply_in_turn(parts: Sequence[Augment], images: Tensor, draws: Draws) -> Tensor:
    """Apply the parts in sequence, with draws from `draw_in_turn`."""
    for k, part in enumerate(parts):
        images = part.apply(images, beneath(draws, f"{k}/"))
    return images


def beneath(draws: Draws, prefix: str) -> Draws:
    """Return the draws whose names begin with ``prefix``, with the prefix removed."""
    return {name[len(prefix) :]: drawn for name, drawn in draws.items() if name.startswith(prefix)}
