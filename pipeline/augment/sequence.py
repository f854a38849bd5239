"""Parts that follow each other: their streams, their sizes, and their draws under one name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.protocol import Augment, Draws
from pipeline.randomness import Keys


def scopes(parts: Sequence[Augment]) -> tuple[str, ...]:
    """Name each part's streams: a second part of the same kind draws on its own."""
    seen: dict[type[Augment], int] = {}
    names = []
    for part in parts:
        seen[type(part)] = seen.get(type(part), 0) + 1
        names.append("" if seen[type(part)] == 1 else f"{seen[type(part)]}/")
    return tuple(names)


def size_after(part: Augment, height: int, width: int) -> tuple[int, int]:
    """Height and width of what a part makes of images of ``height`` x ``width`` pixels."""
    # By name: looking a part through the protocol `Resizing` takes as long as drawing for a batch.
    size_of: Callable[[int, int], tuple[int, int]] | None = getattr(part, "size_of", None)
    return (height, width) if size_of is None else size_of(height, width)


def draw_in_turn(
    parts: Sequence[Augment], keys: Keys, height: int, width: int
) -> dict[str, NDArray[np.generic]]:
    """Draw for every part k, named ``k/...``, in streams that are the sequence's own by ``keys.scope``."""
    drawn: dict[str, NDArray[np.generic]] = {}
    for k, (part, scope) in enumerate(zip(parts, scopes(parts), strict=True)):
        for name, array in part.draw(replace(keys, scope=keys.scope + scope), height, width).items():
            drawn[f"{k}/{name}"] = array
        height, width = size_after(part, height, width)
    return drawn


def apply_in_turn(parts: Sequence[Augment], images: Tensor, draws: Draws) -> Tensor:
    """Apply one part after the other to what `draw_in_turn` gave."""
    for k, part in enumerate(parts):
        images = part.apply(images, beneath(draws, f"{k}/"))
    return images


def beneath(draws: Draws, prefix: str) -> Draws:
    """Take the draws whose names begin with ``prefix``, without it."""
    return {name[len(prefix) :]: drawn for name, drawn in draws.items() if name.startswith(prefix)}
