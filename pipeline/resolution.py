"""Resolution and strength of the augmentation over a run: constant, progressive, super-progressive."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from pipeline.errors import DataError

MOST_PIXELS = 16_384
"""Sanity limit on image sizes, against typos that would request terabytes."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Image size and augmentation strength of a round.

    Attributes
    ----------
    pixels
        Image size (shorter side) as delivered; None for images as stored.
    magnitude
        Factor on the strength of the augmentation.
    resolution
        ``pixels`` relative to the image size at full resolution.
    """

    pixels: int | None = None
    magnitude: float = 1.0
    resolution: float = 1.0


class ResolutionConfig(Protocol):
    """Config of a resolution schedule: a frozen dataclass whose fields are its options."""

    def full(self, native: int | None) -> int:
        """Return the image size (shorter side, in pixels) at full resolution.

        Parameters
        ----------
        native
            Size of the stored images, or of the crop at the beginning of the augmentation; None if neither
            is known.

        Raises
        ------
        DataError
            If ``native`` is needed and None, or the options don't fit it.
        """

    def at(self, progress: float, full: int) -> Stage:
        """Return the stage at ``progress`` in [0, 1] of the budget."""

    def stages(self, full: int) -> tuple[int, ...]:
        """Return all image sizes that `at` returns, ascending."""


def in_pixels(value: int | float, full: int) -> int:
    """Return an image size in pixels: ``value`` itself above 1, else that fraction of the full resolution."""
    return int(value) if value > 1 else max(1, round(value * full))


def _known(native: int | None) -> int:
    if native is None:
        raise DataError(
            "images of different sizes need a resolution in pixels; got none: set --resolution.pixels "
            "224, or "
            "the size of random_resized_crop"
        )
    return native


def check_pixels(name: str, value: int | float) -> None:
    """Raise DataError unless value is a fraction of the full resolution or a whole number of pixels."""
    if not value > 0 or not math.isfinite(value) or (value > 1 and value != int(value)):
        raise DataError(
            f"{name} must be a fraction of the full resolution above 0 and at most 1, or a whole number "
            "of pixels; "
            f"got {value:g}"
        )
    if value > MOST_PIXELS:
        raise DataError(f"{name} must be at most {MOST_PIXELS} pixels; got {value:.0f}: take less")


@dataclass(frozen=True)
class Constant:
    """Constant resolution and strength."""

    pixels: int | float = 1.0
    """Image size: up to 1 as a fraction of the stored images' shorter side, above 1 in pixels."""

    def __post_init__(self) -> None:
        check_pixels("pixels", self.pixels)

    def full(self, native: int | None) -> int:
        """Return the image size; see `ResolutionConfig`."""
        return in_pixels(self.pixels, 0 if self.pixels > 1 else _known(native))

    def at(self, progress: float, full: int) -> Stage:
        """Return the only stage."""
        return Stage(full)

    def stages(self, full: int) -> tuple[int, ...]:
        """Return the only image size."""
        return (full,)


@dataclass(frozen=True)
class Progressive:
    """Progressive learning: image size and augmentation strength increase together (Tan and Le, ICML 2021).

    The budget, in whatever unit, is divided equally among the image sizes from ``lowest`` to ``pixels`` in
    steps; the strength increases linearly with them. It scales color_jitter, ssl, and randaugment with the
    modern list.
    """

    lowest: int | float = 0.43
    """Initial image size: up to 1 as a fraction of the full one, such as .43 for 96 of 224; above 1 in
    pixels."""
    pixels: int | float = 1.0
    """Full image size: up to 1 as a fraction of the stored images' shorter side, above 1 in pixels."""
    step: int | None = None
    """Difference between successive image sizes in pixels; by default 32 from 128 pixels on, else 4."""
    magnitude: tuple[float, float] = (0.8, 1.2)
    """Factor on the augmentation's strength at the lowest and at full resolution (Kocyigit 2023,
    tables A.1 and A.3)."""

    def __post_init__(self) -> None:
        check_pixels("lowest", self.lowest)
        check_pixels("pixels", self.pixels)
        if self.step is not None and self.step < 1:
            raise DataError(f"step must be at least 1 pixel; got {self.step}")
        if not 0 <= self.magnitude[0] <= self.magnitude[1] < float("inf"):
            raise DataError(
                f"magnitude must be two factors of at least 0, smaller first; got {self.magnitude}"
            )

    def full(self, native: int | None) -> int:
        """Return the final image size; see `ResolutionConfig`."""
        full = in_pixels(self.pixels, 0 if self.pixels > 1 else _known(native))
        if in_pixels(self.lowest, full) > full:
            raise DataError(f"lowest must be at most the full resolution of {full} pixels; got {self.lowest}")
        return full

    def at(self, progress: float, full: int) -> Stage:
        """Return the stage at ``progress``."""
        stages = self.stages(full)
        place = min(int(progress * len(stages)), len(stages) - 1)
        grown = place / (len(stages) - 1) if len(stages) > 1 else 1.0
        low, high = self.magnitude
        return Stage(stages[place], low + (high - low) * grown, stages[place] / full)

    def stages(self, full: int) -> tuple[int, ...]:
        """Return image sizes in steps down from the full one, ascending; the first is ``lowest`` itself."""
        step = self.step or (32 if full >= 128 else 4)
        lowest = in_pixels(self.lowest, full)
        return (lowest, *reversed(range(full, lowest, -step)))


@dataclass(frozen=True)
class SuperProgressive(Progressive):
    """Full resolution while the learning rate warms up, then progressive (Kocyigit 2023, section 3.3.2).

    At low learning rates the noise of small images makes training unstable, so the warm-up uses full
    resolution. The strength increases linearly over the whole run. Intended for fixed_one_cycle, with a
    warm-up of the same length.

    By default the warm-up is one of n + 1 equal stages, and the others have the n image sizes: "6 stages"
    from 96 to 224 pixels (section 3.4). The speed-ups of table 3.6 are those of such stages if a step's cost
    is proportional to its pixels, ::

        speed-up = (n + 1) / (1 + sum over the n resolutions of (r / r_max)^2)

    that is 1.40, 1.60 and 1.82 from 128, 96 and 64 to 224 pixels, and 3 in the limit of lowest size and step
    0. (Eq. 3.9 states the mean of (r_max / r_t)^2, which is 1.68, 2.30 and 3.73 there; the table has the
    actual savings.)

    Stages are fractions of the budget. In Kocyigit (2023) they are fractions of the steps, which is the same
    if the budget counts trained samples; under ``--counts compute`` a stage of fewer pixels has more steps.
    """

    warmup: float | None = None
    """Initial fraction of the budget at full resolution, equal to the learning rate's warm-up. None means an
    equal stage, 1 / (number of resolutions + 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup is not None and not 0 <= self.warmup < 1:
            raise DataError(f"warmup must be at least 0 and below 1, a fraction; got {self.warmup}")

    def warmup_fraction(self, full: int) -> float:
        """Return the warm-up's fraction of the budget."""
        return 1 / (len(self.stages(full)) + 1) if self.warmup is None else self.warmup

    def at(self, progress: float, full: int) -> Stage:
        """Return the stage at ``progress``."""
        low, high = self.magnitude
        magnitude = low + (high - low) * progress
        warmup = self.warmup_fraction(full)
        if progress < warmup:
            return Stage(full, magnitude)
        stage = super().at((progress - warmup) / (1 - warmup), full)
        return Stage(stage.pixels, magnitude, stage.resolution)


RESOLUTIONS: dict[str, type[ResolutionConfig]] = {
    "constant": Constant,
    "progressive": Progressive,
    "super_progressive": SuperProgressive,
}
"""Every resolution schedule by the name that recipes use."""
