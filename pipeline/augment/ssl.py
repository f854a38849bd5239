"""The augmentation of self-supervised learning: one view of an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor

from pipeline.augment.blur import Blur
from pipeline.augment.color_jitter import ColorJitter
from pipeline.augment.grayscale import Grayscale
from pipeline.augment.protocol import Augment, Domain, Draws, HostArrays
from pipeline.augment.random_resized_crop import RandomResizedCrop
from pipeline.augment.sequence import apply_in_turn, draw_in_turn
from pipeline.augment.solarize import Solarize
from pipeline.errors import DataError
from pipeline.randomness import Keys

_STANDARD = 5.0


@dataclass(frozen=True)
class Ssl:
    """Random resized crop, flip, color jitter, grayscale, blur and solarize: one view for self-supervision.

    SimCLR's augmentation (Chen et al., ICML 2020), with its color jitter scaled linearly by the magnitude of
    Kocyigit (2023, section 3.4 and appendix A.5): 5 is the standard, and the curriculum goes from 4 to 6.
    There nothing else is scaled, and nothing solarized; options scale all of it, and solarize as BYOL's
    second view (Grill et al., NeurIPS 2020). Each view of a sample (`pipeline.views.Views`) is drawn
    independently.
    """

    magnitude: float = 5.0
    """Linear scale of the augmentation's strength; 5 is the standard."""
    scaled: Literal["all", "colors", "colours"] = "colors"
    """colors scales only the color jitter; all also the largest blur and the probabilities of grayscale and
    solarize. colours is an alias of colors from earlier versions."""
    scale: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest fraction of the image's area in the crop; SimCLR starts at .08."""
    solarize: float = 0.0
    """Probability that an image is solarized at magnitude 5: 0 in SimCLR, .2 in BYOL's second view."""
    size: int | tuple[int, int] | None = None
    """Height and width of the view in pixels; by default the image's own, or the run's resolution."""

    domain: ClassVar[Domain] = "uint8"
    eight_bits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.magnitude < float("inf"):
            raise DataError(f"magnitude must be at least 0 and finite; got {self.magnitude}")
        if self.scaled == "colours":
            object.__setattr__(self, "scaled", "colors")
        if self.scaled not in ("all", "colors"):
            raise DataError(f"scaled must be all or colors; got {self.scaled!r}")
        if not 0 <= self.solarize <= 1:
            raise DataError(f"solarize must be a probability in [0, 1]; got {self.solarize}")
        RandomResizedCrop(scale=self.scale, size=self.size)

    def parts(self) -> tuple[Augment, ...]:
        """Return the augmentations that make up the view, in order."""
        jitter = self.magnitude / _STANDARD
        other = jitter if self.scaled == "all" else 1.0
        colors, gray, blur = ColorJitter(), Grayscale(), Blur()
        return (
            RandomResizedCrop(scale=self.scale, size=self.size),
            ColorJitter(
                brightness=colors.brightness * jitter,
                contrast=colors.contrast * jitter,
                saturation=colors.saturation * jitter,
                hue=min(0.5, colors.hue * jitter),
            ),
            Grayscale(probability=min(1.0, gray.probability * other)),
            Blur(sigma=(blur.sigma[0], max(blur.sigma[0], blur.sigma[1] * other))),
            Solarize(probability=min(1.0, self.solarize * other)),
        )

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Return the view's height and width."""
        return RandomResizedCrop(size=self.size).size_of(height, width)

    def sized(self, height: int, width: int) -> Ssl:
        """Return the same augmentation with this view size."""
        return replace(self, size=(height, width))

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw for each part k, with names ``k/...``, in separate streams."""
        scaled = replace(self, magnitude=self.magnitude * keys.magnitude)
        own = replace(keys, scope=keys.scope + "ssl/", magnitude=1.0)
        return draw_in_turn(scaled.parts(), own, height, width)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply the parts in sequence."""
        return apply_in_turn(self.parts(), images, draws)
