"""The augmentation of self-supervised learning: one view of a two-view set."""

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
    """Crop and resize, flip, jitter colors, make gray, blur and solarize: one view for self-supervision.

    SimCLR's set (Chen et al., ICML 2020), whose color jitter is scaled linearly by the magnitude of Kocyigit
    (2023, section 3.4 and appendix A.5): 5 is the standard, and the curriculum goes from 4 to 6. Nothing else
    is scaled there, and nothing solarized; options scale all of it, and solarize as BYOL's second view does
    (Grill et al., NeurIPS 2020). Every view of a sample (`pipeline.views.Views`) draws anew.
    """

    magnitude: float = 5.0
    """Scales the augmentation linearly; 5 is the standard."""
    scaled: Literal["all", "colors", "colours"] = "colors"
    """colors scales the color jitter alone; all, the widest blur too, and how often images are made gray and
    solarized. colours is colors, as earlier versions spelled it."""
    scale: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest share of the image's area that is cut out; SimCLR begins at .08."""
    solarize: float = 0.0
    """How often an image is solarized at magnitude 5: 0 is SimCLR's, .2 BYOL's second view."""
    size: int | tuple[int, int] | None = None
    """Height and width of the view in pixels; by default the image's own, or the run's resolution."""

    domain: ClassVar[Domain] = "uint8"

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
        """Give the augmentations that the view consists of, in order."""
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
        """Give the view's size."""
        return RandomResizedCrop(size=self.size).size_of(height, width)

    def sized(self, height: int, width: int) -> Ssl:
        """Give the same part, whose views are to have this size."""
        return replace(self, size=(height, width))

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw for every part k, named ``k/...``, in streams of the set's own."""
        scaled = replace(self, magnitude=self.magnitude * keys.magnitude)
        own = replace(keys, scope=keys.scope + "ssl/", magnitude=1.0)
        return draw_in_turn(scaled.parts(), own, height, width)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply one part after the other."""
        return apply_in_turn(self.parts(), images, draws)
