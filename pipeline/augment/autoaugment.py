"""AutoAugment: one of 25 learned pairs of operations per sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.operations import apply_layers, draw_layer
from pipeline.augment.policies import POLICIES
from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.augment.spaces import learned
from pipeline.errors import DataError
from pipeline.ops.memory import to_images, to_pixels
from pipeline.randomness import Keys, integers, sample_doubles


@dataclass(frozen=True)
class Autoaugment:
    """Apply one of 25 learned pairs of operations to each sample, each operation with its own probability.

    Cubuk et al., CVPR 2019, with torchvision's values of the ten magnitudes. Use before crop and flip.
    """

    policy: Literal["cifar10", "svhn", "imagenet"] = "cifar10"
    """The data set that the pairs were learned on; cifar10 is also used for CIFAR-100."""

    domain: ClassVar[Domain] = "uint8"
    eight_bits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise DataError(f"policy must be one of {', '.join(POLICIES)}; got {self.policy!r}")

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw a layer (`draw_layer`) for each operation k of the pair, with names ``k/...``."""
        policy, space = POLICIES[self.policy], learned(height, width)
        rows = np.array([space.names.index(name) for name in policy.names])
        uniform = sample_doubles(keys, "autoaugment", 5)
        pair = integers(uniform[:, 0], len(policy.operation))
        nowhere = np.zeros((len(keys), 2))
        drawn: dict[str, NDArray[np.generic]] = {}
        for layer in range(2):
            chance, toss = uniform[:, 1 + 2 * layer], uniform[:, 2 + 2 * layer]
            operation = policy.operation[pair, layer]
            row = rows[operation]
            sign = np.where(space.signed[row] & (toss < 0.5), -1.0, 1.0)
            values = space.neutral[row] + sign * space.values[row, policy.level[pair, layer]]
            applied = chance < policy.probability[pair, layer]
            choice = np.where(applied, operation, len(policy.names))
            names = (*policy.names, "identity")
            for name, array in draw_layer(names, choice, values, nowhere, height, width).items():
                drawn[f"{layer}/{name}"] = array
        return drawn

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply each sample's first operation, then its second."""
        prefixes = [f"{layer}/" for layer in range(2)]
        return to_images(apply_layers(to_pixels(images), draws, prefixes))
