"""RandAugment: a few random operations per sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.operations import CUTOUT, KINDS, OPERATIONS, Chosen, Floats, apply_layers
from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.augment.spaces import BINS, Space, modern, original
from pipeline.errors import DataError
from pipeline.ops.memory import to_images, to_pixels
from pipeline.randomness import Keys, integers, sample_doubles

_MOST_OPERATIONS = 100


@dataclass(frozen=True)
class Randaugment:
    """Apply a few operations to each sample, drawn from a list, all at one magnitude.

    Cubuk et al., 2020. ``original`` is the list of 16 operations used by Arazo et al. (2021), some of which
    get weaker with the magnitude, so that magnitude 4 is strong. ``modern`` is torchvision's list of 14,
    which all get stronger; only this one is scaled by the magnitude of a run's resolution schedule.
    Operations are drawn with replacement, separately per sample. Use before crop and flip.
    """

    operations: int = 2
    """Operations per sample."""
    magnitude: int | None = None
    """From 0 to 30; by default 4 for the original list, as in the paper, and 9 for the modern one."""
    space: Literal["original", "modern"] = "original"
    """List of operations."""

    domain: ClassVar[Domain] = "uint8"
    eight_bits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.operations < 1:
            raise DataError(f"operations must be at least 1 per sample; got {self.operations}")
        if self.operations > _MOST_OPERATIONS:
            raise DataError(
                f"operations must be at most {_MOST_OPERATIONS} per sample; got {self.operations}: 1 to 4 "
                "are usual"
            )
        if self.magnitude is not None and not 0 <= self.magnitude <= 30:
            raise DataError(f"magnitude must be in [0, 30]; got {self.magnitude}")
        if self.space not in ("original", "modern"):
            raise DataError(f"space must be original or modern; got {self.space!r}")

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw each layer k (`pipeline.augment.operations.draw_layer`), with names ``k/...``."""
        if self.space == "original":
            space, default, scale = original(keys.resolution), 4, 1.0
        else:
            space, default, scale = modern(height, width), 9, keys.magnitude
        magnitude = default if self.magnitude is None else self.magnitude
        bin_ = min(round(magnitude * scale), BINS - 1)
        drawn: dict[str, NDArray[np.generic]] = {}
        for layer in range(self.operations):
            uniform = sample_doubles(keys, f"randaugment/{layer}", 4)
            bins = np.full(len(keys), bin_)
            for name, array in draw_from(space, uniform, bins, height, width).items():
                drawn[f"{layer}/{name}"] = array
        return drawn

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply the layers in sequence."""
        prefixes = [f"{layer}/" for layer in range(self.operations)]
        return to_images(apply_layers(to_pixels(images), draws, prefixes))


def draw_from(
    space: Space, uniform: Floats, bins: NDArray[np.int64], height: int, width: int
) -> dict[str, NDArray[np.generic]]:
    """Choose operations and signs, and look up the operations' parameters at ``bins``.

    Returns as `pipeline.augment.operations.draw_layer`.

    Parameters
    ----------
    uniform
        float64[n, 4]: operation, sign, and two for a position.
    """
    kinds, kind_of, tables = _parameters(space, height, width)
    choice = integers(uniform[:, 0], len(space.names))
    negative = (space.signed[choice] & (uniform[:, 1] < 0.5)).astype(np.int64)
    kind = kind_of[choice]
    order = np.argsort(kind, kind="stable")
    bounds = np.searchsorted(kind[order], np.arange(len(kinds) + 1, dtype=np.uint8))
    drawn: dict[str, NDArray[np.generic]] = {}
    for index, name in enumerate(kinds):
        at = order[bounds[index] : bounds[index + 1]]
        drawn[f"{name}/at"] = at
        if name == "cutout":
            chosen = Chosen(space.values[choice[at], bins[at]], uniform[at, 2:], height, width)
            drawn[f"{name}/with"] = CUTOUT.parameters(chosen)
        else:
            drawn[f"{name}/with"] = tables[index][choice[at], bins[at], negative[at]]
    return drawn


@lru_cache(maxsize=64)
def _parameters(
    space: Space, height: int, width: int
) -> tuple[tuple[str, ...], NDArray[np.uint8], tuple[NDArray[np.generic], ...]]:
    """Return kinds, the kind of each operation, and parameters per kind: [operations, bins, sign, ...].

    There are few values, so they are computed once. The kind of the identity is numbered after the last kind;
    operations with a random position are not in the tables.
    """
    operations = [OPERATIONS[name] for name in space.names]
    kinds = tuple(dict.fromkeys(one.kind for one in operations if one is not None))
    count, bins = space.values.shape
    kind_of = np.full(count, len(kinds), dtype=np.uint8)
    tables = [
        np.zeros((count, bins, 2, *KINDS[kind].empty.shape[1:]), KINDS[kind].empty.dtype) for kind in kinds
    ]
    for row, operation in enumerate(operations):
        if operation is not None:
            sign = np.array([1.0, -1.0 if space.signed[row] else 1.0])
            values = space.neutral[row] + space.values[row][:, None] * sign
            chosen = Chosen(values.ravel(), np.zeros((2 * bins, 2)), height, width)
            kind_of[row] = kinds.index(operation.kind)
            table = tables[kind_of[row]]
            table[row] = operation.parameters(chosen).reshape(table.shape[1:])
    return kinds, kind_of, tuple(tables)
