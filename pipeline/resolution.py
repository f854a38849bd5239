"""Resolution and strength of the augmentation over a run: constant, progressive, super-progressive."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from pipeline.errors import DataError

MOST_PIXELS = 16_384
"""Of a side that images are brought to: more than networks train on, lest a slip asks for terabytes."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What the images of a round are to be.

    Attributes
    ----------
    pixels
        Of the shorter side, as delivered; None for images as they are stored.
    magnitude
        Factor on the strength of the augmentation.
    resolution
        ``pixels`` by those of a side at full resolution.
    """

    pixels: int | None = None
    magnitude: float = 1.0
    resolution: float = 1.0


class ResolutionPart(Protocol):
    """A frozen dataclass whose fields are the schedule's options."""

    def full(self, native: int | None) -> int:
        """Pixels of the shorter side at full resolution.

        Parameters
        ----------
        native
            Those of the images as they are stored, or of the crop that the augmentation begins with; None
            where neither says.

        Raises
        ------
        DataError
            When ``native`` is needed and not known, or the options don't fit it.
        """

    def at(self, progress: float, full: int) -> Stage:
        """What images are to be at ``progress`` in [0, 1] of the budget."""

    def stages(self, full: int) -> tuple[int, ...]:
        """Every number of pixels that `at` gives, ascending."""


def in_pixels(value: int | float, full: int) -> int:
    """Pixels of a side: ``value`` itself above 1, else that fraction of the full resolution."""
    return int(value) if value > 1 else max(1, round(value * full))


def _known(native: int | None) -> int:
    if native is None:
        raise DataError(
            "images of different sizes need a resolution in pixels; got none: give --resolution.pixels "
            "224, or "
            "random_resized_crop a size"
        )
    return native


def check_pixels(name: str, value: int | float) -> None:
    """Refuse what is neither a fraction of the full resolution nor a whole number of pixels."""
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
    """The same resolution and strength from beginning to end."""

    pixels: int | float = 1.0
    """Up to 1 a fraction of the images' own shorter side, above 1 its pixels."""

    def __post_init__(self) -> None:
        check_pixels("pixels", self.pixels)

    def full(self, native: int | None) -> int:
        """Pixels of the shorter side; see `ResolutionPart`."""
        return in_pixels(self.pixels, 0 if self.pixels > 1 else _known(native))

    def at(self, progress: float, full: int) -> Stage:
        """Give the one stage there is."""
        return Stage(full)

    def stages(self, full: int) -> tuple[int, ...]:
        """Give the one resolution there is."""
        return (full,)


@dataclass(frozen=True)
class Progressive:
    """Low resolution and weak augmentation first, growing together (Tan and Le, ICML 2021).

    The budget, whatever it counts, is divided evenly among the resolutions from ``lowest`` to ``pixels`` in
    steps; the strength grows with them, linearly. It scales color_jitter, ssl, and randaugment of the modern
    list.
    """

    lowest: int | float = 0.43
    """Resolution to begin with: up to 1 a fraction of the full one, as .43 for 96 of 224; above 1 in
    pixels."""
    pixels: int | float = 1.0
    """Full resolution: up to 1 a fraction of the images' own shorter side, above 1 its pixels."""
    step: int | None = None
    """Pixels between two resolutions; by default 32 from 128 pixels on, else 4."""
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
        """Pixels of the shorter side at the end; see `ResolutionPart`."""
        full = in_pixels(self.pixels, 0 if self.pixels > 1 else _known(native))
        if in_pixels(self.lowest, full) > full:
            raise DataError(f"lowest must be at most the full resolution of {full} pixels; got {self.lowest}")
        return full

    def at(self, progress: float, full: int) -> Stage:
        """Give the stage that ``progress`` falls into."""
        stages = self.stages(full)
        place = min(int(progress * len(stages)), len(stages) - 1)
        grown = place / (len(stages) - 1) if len(stages) > 1 else 1.0
        low, high = self.magnitude
        return Stage(stages[place], low + (high - low) * grown, stages[place] / full)

    def stages(self, full: int) -> tuple[int, ...]:
        """Resolutions in steps down from the full one; the lowest comes first, wherever the steps lead."""
        step = self.step or (32 if full >= 128 else 4)
        lowest = in_pixels(self.lowest, full)
        return (lowest, *reversed(range(full, lowest, -step)))


@dataclass(frozen=True)
class SuperProgressive(Progressive):
    """Full resolution while the learning rate warms up, then progressive (Kocyigit 2023, section 3.3.2).

    At low learning rates the noise of small images makes training unstable, so the warm-up sees full
    resolution. The strength grows linearly over the whole run. Made for fixed_one_cycle, whose warm-up should
    last as long.

    By default the warm-up is one of n + 1 equal stages, of which the others have the n resolutions: "6
    stages" from 96 to 224 pixels (section 3.4). The speed-ups of table 3.6 are those of such stages when a
    step costs as its pixels do, ::

        speed-up = (n + 1) / (1 + sum over the n resolutions of (r / r_max)^2)

    that is 1.40, 1.60 and 1.82 from 128, 96 and 64 to 224 pixels, and 3 without a least resolution. (Eq. 3.9
    prints the mean of (r_max / r_t)^2, which is 1.68, 2.30 and 3.73 there; the table has what is saved.)

    Stages are shares of the budget. In the thesis they are shares of the steps, as they are here where the
    budget counts samples trained; under ``--counts compute`` a stage of fewer pixels has more steps.
    """

    warmup: float | None = None
    """Fraction of the budget at full resolution in the beginning: that of the learning rate's warm-up. None
    takes an equal stage, 1 / (number of resolutions + 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup is not None and not 0 <= self.warmup < 1:
            raise DataError(f"warmup must be at least 0 and below 1, a fraction; got {self.warmup}")

    def warmup_share(self, full: int) -> float:
        """Fraction of the budget that the warm-up lasts."""
        return 1 / (len(self.stages(full)) + 1) if self.warmup is None else self.warmup

    def at(self, progress: float, full: int) -> Stage:
        """Give the stage that ``progress`` falls into."""
        low, high = self.magnitude
        magnitude = low + (high - low) * progress
        warmup = self.warmup_share(full)
        if progress < warmup:
            return Stage(full, magnitude)
        stage = super().at((progress - warmup) / (1 - warmup), full)
        return Stage(stage.pixels, magnitude, stage.resolution)


RESOLUTIONS: dict[str, type[ResolutionPart]] = {
    "constant": Constant,
    "progressive": Progressive,
    "super_progressive": SuperProgressive,
}
"""Every resolution schedule by the name that recipes use."""
