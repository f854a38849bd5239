"""Views: one augmentation per view of a sample, all cut from one decode."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.augment import Augmentation, Mixing
from pipeline.errors import DataError
from pipeline.resolution import Stage


@dataclass(frozen=True)
class Views:
    """The augmentations of a batch's views: a pair for BYOL, two large and six small crops for DINO.

    Every view of a sample has its own draws: random numbers are keyed by (seed, stream, round, id,
    occurrence, view), and those of the first view don't depend on the others. Where all views begin with a
    crop, an engine cuts their windows from one decode; other images are read whole, once.

    Parameters
    ----------
    transforms
        One augmentation per view.
    sizes
        Pixels of each view, as a fraction of the stage's (`pipeline.resolution.Stage`); empty means 1 for
        all.

    Raises
    ------
    DataError
        Without a view, on other than one size per view, on a size that is not above 0, and on mixing in one
        of several views: each would be a mixture of other samples.
    """

    transforms: tuple[Augmentation, ...]
    sizes: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.transforms)
        if count == 0:
            raise DataError("views must hold at least one augmentation; got none")
        if len(self.sizes) not in (0, count):
            raise DataError(f"sizes must be one per view; got {len(self.sizes)} for {count} views")
        if not all(0 < size < float("inf") for size in self.sizes):
            raise DataError(f"sizes must be above 0 and finite; got {self.sizes}")
        mixing = any(
            isinstance(part, Mixing) for augmentation in self.transforms for part in augmentation.parts
        )
        if count > 1 and mixing:
            raise DataError(
                f"views must not mix, or each of {count} would be of other samples: leave mixup, cutmix and "
                "ricap out of their augmentations"
            )

    def __len__(self) -> int:
        return len(self.transforms)

    @property
    def crops(self) -> bool:
        """Whether every view begins with a crop, so that an engine may cut the views' windows."""
        return all(augmentation.cropping is not None for augmentation in self.transforms)

    def stages(self, stage: Stage) -> tuple[Stage, ...]:
        """Return the stage of each view.

        Raises
        ------
        DataError
            When views differ in size, and the stage has no pixels to take a fraction of.
        """
        if not self.sizes or set(self.sizes) == {1.0}:
            return (stage,) * len(self)
        pixels = stage.pixels
        if pixels is None:
            raise DataError(
                f"the sizes of views are fractions of a stage's pixels; got {self.sizes} and a stage "
                "without: give the stage pixels, or the views' crops sizes of their own"
            )
        return tuple(
            replace(stage, pixels=max(1, round(pixels * size)), resolution=stage.resolution * size)
            for size in self.sizes
        )
