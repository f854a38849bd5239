"""Sequences of augmentations: which are possible, random streams, sizes, and prefixed draws."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.none import NoAugment
from pipeline.augment.protocol import Augment, Draws, Mixing
from pipeline.errors import DataError
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


def needs_eight_bits(parts: Sequence[Augment]) -> str | None:
    """Return the name of the first part that computes with levels of 8 bits; None if all take others, too."""
    return next((_name(part) for part in parts if getattr(part, "eight_bits", False)), None)


def _name(part: Augment) -> str:
    """Return the part's name in recipes: the words of its class in lower case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(part).__name__).lower()


def check_order(parts: Sequence[Augment]) -> None:
    """Refuse sequences that can't work: see `pipeline.Augmentation`.

    Raises
    ------
    DataError
        When a part on gray levels follows one on floats, something changes images that were mixed, or two
        parts put images together from pieces.
    """
    floating: Augment | None = None
    mixing: Augment | None = None
    patching: Augment | None = None
    for part in parts:
        if floating is not None and part.domain == "uint8":
            raise DataError(
                f"{_name(part)} works on gray levels and {_name(floating)} on normalized pixels: "
                f"put {_name(part)} before {_name(floating)}"
            )
        if mixing is not None and not isinstance(part, Mixing) and not isinstance(part, NoAugment):
            raise DataError(
                f"{_name(part)} after {_name(mixing)} would make the mixed labels' coefficients untrue: "
                f"put {_name(part)} before {_name(mixing)}"
            )
        if part.domain == "float":
            floating = part
        if isinstance(part, Mixing):
            patches = getattr(part, "patches", True)
            if patches and patching is not None:
                raise DataError(
                    f"{_name(part)} after {_name(patching)} would make the mixed labels' coefficients untrue;"
                    " each puts images together from pieces: take one of them"
                )
            mixing, patching = part, part if patches else patching
