"""AutoAugment's learned policies: 25 pairs of operations for each of three data sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# One pair per line; per operation its probability and its magnitude, one of ten (0 if it has none).
_CIFAR10 = """
invert 0.1 0, contrast 0.2 6
rotate 0.7 2, translate_x 0.3 9
sharpness 0.8 1, sharpness 0.9 3
shear_y 0.5 8, translate_y 0.7 9
autocontrast 0.5 0, equalize 0.9 0
shear_y 0.2 7, posterize 0.3 7
color 0.4 3, brightness 0.6 7
sharpness 0.3 9, brightness 0.7 9
equalize 0.6 0, equalize 0.5 0
contrast 0.6 7, sharpness 0.6 5
color 0.7 7, translate_x 0.5 8
equalize 0.3 0, autocontrast 0.4 0
translate_y 0.4 3, sharpness 0.2 6
brightness 0.9 6, color 0.2 8
solarize 0.5 2, invert 0 0
equalize 0.2 0, autocontrast 0.6 0
equalize 0.2 0, equalize 0.6 0
color 0.9 9, equalize 0.6 0
autocontrast 0.8 0, solarize 0.2 8
brightness 0.1 3, color 0.7 0
solarize 0.4 5, autocontrast 0.9 0
translate_y 0.9 9, translate_y 0.7 9
autocontrast 0.9 0, solarize 0.8 3
equalize 0.8 0, invert 0.1 0
translate_y 0.7 9, autocontrast 0.9 0
"""

_SVHN = """
shear_x 0.9 4, invert 0.2 0
shear_y 0.9 8, invert 0.7 0
equalize 0.6 0, solarize 0.6 6
invert 0.9 0, equalize 0.6 0
equalize 0.6 0, rotate 0.9 3
shear_x 0.9 4, autocontrast 0.8 0
shear_y 0.9 8, invert 0.4 0
shear_y 0.9 5, solarize 0.2 6
invert 0.9 0, autocontrast 0.8 0
equalize 0.6 0, rotate 0.9 3
shear_x 0.9 4, solarize 0.3 3
shear_y 0.8 8, invert 0.7 0
equalize 0.9 0, translate_y 0.6 6
invert 0.9 0, equalize 0.6 0
contrast 0.3 3, rotate 0.8 4
invert 0.8 0, translate_y 0 2
shear_y 0.7 6, solarize 0.4 8
invert 0.6 0, rotate 0.8 4
shear_y 0.3 7, translate_x 0.9 3
shear_x 0.1 6, invert 0.6 0
solarize 0.7 2, translate_y 0.6 7
shear_y 0.8 4, invert 0.8 0
shear_x 0.7 9, translate_y 0.8 3
shear_y 0.8 5, autocontrast 0.7 0
shear_x 0.7 2, invert 0.1 0
"""

_IMAGENET = """
posterize 0.4 8, rotate 0.6 9
solarize 0.6 5, autocontrast 0.6 0
equalize 0.8 0, equalize 0.6 0
posterize 0.6 7, posterize 0.6 6
equalize 0.4 0, solarize 0.2 4
equalize 0.4 0, rotate 0.8 8
solarize 0.6 3, equalize 0.6 0
posterize 0.8 5, equalize 1 0
rotate 0.2 3, solarize 0.6 8
equalize 0.6 0, posterize 0.4 6
rotate 0.8 8, color 0.4 0
rotate 0.4 9, equalize 0.6 0
equalize 0 0, equalize 0.8 0
invert 0.6 0, equalize 1 0
color 0.6 4, contrast 1 8
rotate 0.8 8, color 1 2
color 0.8 8, solarize 0.8 7
sharpness 0.4 7, invert 0.6 0
shear_x 0.6 5, equalize 1 0
color 0.4 0, equalize 0.6 0
equalize 0.4 0, solarize 0.2 4
solarize 0.6 5, autocontrast 0.6 0
invert 0.6 0, equalize 1 0
color 0.6 4, contrast 1 8
equalize 0.8 0, equalize 0.6 0
"""


@dataclass(frozen=True, slots=True)
class Policy:
    """25 pairs of operations; axis 1 is the position within the pair.

    Attributes
    ----------
    names
        Names of the operations in the policy, from `pipeline.augment.operations.OPERATIONS`.
    operation
        int64[25, 2], indices into ``names``.
    probability
        float64[25, 2], probability that the operation is applied.
    level
        int64[25, 2], magnitudes from 0 to 9.
    """

    names: tuple[str, ...]
    operation: NDArray[np.int64]
    probability: NDArray[np.float64]
    level: NDArray[np.int64]


def _policy(lines: str) -> Policy:
    steps = [[step.split() for step in line.split(", ")] for line in lines.strip().splitlines()]
    names = tuple(sorted({name for pair in steps for name, _, _ in pair}))
    return Policy(
        names,
        np.array([[names.index(name) for name, _, _ in pair] for pair in steps]),
        np.array([[float(probability) for _, probability, _ in pair] for pair in steps]),
        np.array([[int(level) for _, _, level in pair] for pair in steps]),
    )


POLICIES = {"cifar10": _policy(_CIFAR10), "svhn": _policy(_SVHN), "imagenet": _policy(_IMAGENET)}
"""The policies by the data set on which they were learned (Cubuk et al., CVPR 2019, appendix)."""
