"""Operation spaces of RandAugment and similar methods: operations, and their strength at each magnitude."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BINS = 31


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Operations with their values at each magnitude.

    Attributes
    ----------
    names
        Names from `pipeline.augment.operations.OPERATIONS`.
    values
        float64[k, bins], distance from ``neutral`` at each magnitude.
    neutral
        float64[k]: 1 for factors, where 1 is the identity, else 0.
    signed
        bool[k], whether the distance gets a random sign.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    neutral: NDArray[np.float64]
    signed: NDArray[np.bool_]


def _space(
    values: Mapping[str, NDArray[np.float64]], signed: tuple[str, ...], around_one: tuple[str, ...]
) -> Space:
    names = tuple(values)
    return Space(
        names,
        np.stack(list(values.values())),
        np.array([float(name in around_one) for name in names]),
        np.array([name in signed for name in names]),
    )


def _even(first: float, last: float, bins: int = BINS) -> NDArray[np.float64]:
    return np.linspace(first, last, bins)


def _whole(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round down, except for values just below an integer by rounding errors, which are rounded up."""
    return np.floor(pixels + 1e-6)


_MOVES = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
_ENHANCERS = ("brightness", "color", "contrast", "sharpness")
_NONE = np.zeros(BINS)


@lru_cache(maxsize=64)
def original(resolution: float = 1.0) -> Space:
    """Return the non-monotonic space of 16 operations: magnitude / 30 * (max - min) + min.

    Translations and the side of cutout are in pixels at full resolution, independent of the image's size;
    ``resolution`` scales them.
    """
    values = {
        "autocontrast": _NONE,
        "equalize": _NONE,
        "invert": _NONE,
        "rotate": _even(0, 30),
        "posterize": np.maximum(_even(0, 4).astype(np.int64), 1).astype(np.float64),
        "solarize": _even(0, 256),
        "solarize_add": _even(0, 110),
        "color": _even(0.1, 1.9),
        "contrast": _even(0.1, 1.9),
        "brightness": _even(0.1, 1.9),
        "sharpness": _even(0.1, 1.9),
        "shear_x": _even(0, 0.3),
        "shear_y": _even(0, 0.3),
        "cutout": _even(0, 40 * resolution),
        "translate_x": _even(0, 100 * resolution),
        "translate_y": _even(0, 100 * resolution),
    }
    return _space(values, signed=_MOVES, around_one=())


@lru_cache(maxsize=64)
def modern(height: int, width: int) -> Space:
    """Return torchvision's RandAugment space of 14; translations scale with the image, in whole pixels."""
    return _monotonic(
        shear=0.3,
        translate_x=150 / 331 * width,
        translate_y=150 / 331 * height,
        rotate=30,
        enhance=0.9,
        bits=4,
    )


@lru_cache(maxsize=64)
def learned(height: int, width: int) -> Space:
    """Return AutoAugment's operations at its ten magnitudes: those of `modern`, and invert."""
    return _monotonic(
        shear=0.3,
        translate_x=150 / 331 * width,
        translate_y=150 / 331 * height,
        rotate=30,
        enhance=0.9,
        bits=4,
        bins=10,
        more=("invert",),
    )


@lru_cache(maxsize=64)
def wide(resolution: float = 1.0) -> Space:
    """Return TrivialAugment's wide space of 14 operations (torchvision's values).

    Translations go up to 32 pixels at full resolution; ``resolution`` scales them.
    """
    reach = 32 * resolution
    return _monotonic(shear=0.99, translate_x=reach, translate_y=reach, rotate=135, enhance=0.99, bits=6)


def _monotonic(
    *,
    shear: float,
    translate_x: float,
    translate_y: float,
    rotate: float,
    enhance: float,
    bits: int,
    bins: int = BINS,
    more: tuple[str, ...] = (),
) -> Space:
    none = np.zeros(bins)
    return _space(
        {
            "identity": none,
            "shear_x": _even(0, shear, bins),
            "shear_y": _even(0, shear, bins),
            "translate_x": _whole(_even(0, translate_x, bins)),
            "translate_y": _whole(_even(0, translate_y, bins)),
            "rotate": _even(0, rotate, bins),
            "brightness": _even(0, enhance, bins),
            "color": _even(0, enhance, bins),
            "contrast": _even(0, enhance, bins),
            "sharpness": _even(0, enhance, bins),
            "posterize": 8 - np.round(np.arange(bins) / ((bins - 1) / bits)),
            "solarize": _even(255, 0, bins),
            "autocontrast": none,
            "equalize": none,
            **dict.fromkeys(more, none),
        },
        signed=_MOVES + _ENHANCERS,
        around_one=_ENHANCERS,
    )
