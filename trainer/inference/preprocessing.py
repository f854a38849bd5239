"""Preprocessing: how a stored or a new image becomes a network's input, as in its run's evaluation."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipeline import Augmentation
from pipeline.augment.center_crop import CenterCrop, PlacedCrop
from pipeline.crop import Crop
from pipeline.engines.stored import crop_image
from pipeline.formats import Card
from pipeline.modes import PIXELS, Mode, resized
from pipeline.pillow import pixel_limit
from pipeline.randomness import Keys
from pipeline.resolution import Stage
from pipeline.sources.pixels import to_mode
from pipeline.sources.protocol import Source, in_mode
from pipeline.sources.store import Storage, fit, store
from pipeline.sources.wrapped import Wrapped
from trainer.errors import RunError
from trainer.inference.predict import View

CORNERS = ((0.5, 0.5), (0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
"""Places of five crops, the central one first: fractions of the room above and to the left of a crop."""

_QUALITY = 90
"""Of JPEGs, where a set holds none that was encoded in its conversion."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How images are converted, cropped, resized and normalized before a network evaluates them.

    Attributes
    ----------
    mean, std
        Per channel, of pixels scaled to [0, 1].
    pixels
        Shorter side of the network's input.
    crop
        Side of the central square that is cut out, as a fraction of the image's shorter side; None for whole
        images.
    height, width
        Of images as they are stored, before the crop; None where they differ in shape.
    square, max_resolution, levels
        How images were resized when they were converted; see `pipeline.conversion.convert.ConvertOptions`.
    quality
        Of the JPEG that an image is stored as, unless it is one of the right size; None for raw images.
    mode
        Of the images; see `pipeline.modes`.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    pixels: int
    crop: float | None
    height: int | None
    width: int | None
    square: int | None = None
    max_resolution: int | None = None
    levels: tuple[int, ...] = ()
    quality: int | None = None
    mode: Mode = "RGB"

    @classmethod
    def of(cls, card: Card, view: View, shape: tuple[int, int] | None) -> Preprocessing:
        """Return the preprocessing of a set that is evaluated.

        Parameters
        ----------
        card
            The set's.
        view
            How its images are shown, at a resolution in pixels.
        shape
            Height and width that all its images share; None where they differ.
        """
        first = view.augmentation.parts[0] if view.augmentation.parts else None
        height, width = (None, None) if shape is None else shape
        assert view.stage.pixels is not None
        return cls(
            mean=view.augmentation.mean,
            std=view.augmentation.std,
            pixels=view.stage.pixels,
            crop=first.fraction if isinstance(first, CenterCrop) else None,
            height=height,
            width=width,
            square=card.square,
            max_resolution=card.max_resolution,
            levels=card.levels,
            quality=(card.quality or _QUALITY) if card.encoding == "jpeg" else None,
            mode=card.mode,
        )

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Preprocessing:
        """Read what `table` returned, after JSON.

        Raises
        ------
        RunError
            When it is of another version.
        """
        # Runs of versions before have images of RGB.
        table = {"mode": "RGB", **table}
        if set(table) != {item.name for item in fields(cls)}:
            raise RunError(
                f"a preprocessing must have {', '.join(item.name for item in fields(cls))}; got "
                f"{', '.join(table)}: export the run again"
            )
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
        }
        return cls(**values)

    def table(self) -> dict[str, Any]:
        """Return all attributes, for JSON."""
        return asdict(self)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        if self.height is None or self.width is None:
            return self.pixels, self.pixels
        scale = self.pixels / min(self.height, self.width)
        return max(1, round(self.height * scale)), max(1, round(self.width * scale))

    def augmentations(self, dtype: torch.dtype = torch.float32, crops: int = 1) -> tuple[Augmentation, ...]:
        """Return what crops and normalizes, one augmentation per crop.

        Parameters
        ----------
        crops
            1 for the run's own evaluation, 5 for the center and the corners.
        """
        bare = Augmentation((), self.mean, self.std, dtype)
        if crops == 1:
            return (bare if self.crop is None else bare.plain(CenterCrop(fraction=self.crop)),)
        fraction = CenterCrop().fraction if self.crop in (None, 1) else self.crop
        return tuple(
            bare.plain(PlacedCrop(fraction=fraction, down=down, across=across)) for down, across in CORNERS
        )

    @property
    def stage(self) -> Stage:
        """The resolution."""
        return Stage(self.pixels)


class Pictures:
    """New images on their way to a network: read, converted as the evaluated set was, and cropped.

    Pixels equal those that the resident engine reads from a converted set of the same images. Used by several
    threads at once.

    Parameters
    ----------
    source
        The images. One of another shape than the evaluated set's, where that has one, is cut to its aspect
        ratio around the center and resized.
    augmentations
        Of the preprocessing, one per crop.

    """

    def __init__(
        self, source: Source, preprocessing: Preprocessing, augmentations: Sequence[Augmentation]
    ) -> None:
        source = in_mode(source, preprocessing.mode)
        self._mode, self._pixels = preprocessing.mode, PIXELS[preprocessing.mode]
        self._covering: _Covering | None = None
        height, width = preprocessing.height, preprocessing.width
        if height is not None and width is not None and preprocessing.square is None:
            source = self._covering = _Covering(source, height, width, preprocessing.max_resolution)
        self._source = source
        compressed = np.broadcast_to(preprocessing.quality is not None, len(source))
        self._storage = Storage(
            compressed,
            quality=preprocessing.quality or _QUALITY,
            reencode=False,
            max_resolution=preprocessing.max_resolution,
            square=preprocessing.square,
            levels=preprocessing.levels,
            mode=preprocessing.mode,
        )
        levels = enumerate(preprocessing.levels, start=1)
        self._level = next((at for at, one in levels if one >= preprocessing.pixels), 0)
        size = preprocessing.size
        unchanged = size == (height, width)
        self._crops = [augmentation.cropping is not None for augmentation in augmentations]
        self._chains = [
            augmentation if unchanged and augmentation.cropping is None else augmentation.at(size)
            for augmentation in augmentations
        ]

    @property
    def fitted(self) -> int:
        """How many of the images read so far had another shape."""
        return 0 if self._covering is None else self._covering.fitted

    def read(self, index: int) -> list[NDArray[Any]]:
        """Return the crops of an image, [H, W, C] each of the mode.

        Raises
        ------
        CorruptSampleError
            When the image can't be read; the line names it.
        """
        stored, pixels = store(self._source, index, self._storage)
        kept = stored.images[self._level]
        assert kept.content is not None
        if stored.compressed:
            with pixel_limit(None):
                image = Image.open(io.BytesIO(kept.content), formats=["JPEG"])
                pixels = to_mode(image, self._mode)
        elif self._level:
            pixels = self._pixels.unpack(kept.content, kept.height, kept.width)
        pairs = zip(self._chains, self._crops, strict=True)
        return [_cropped(pixels, augmentation) if crops else pixels for augmentation, crops in pairs]

    def normalized(self, crop: int, images: Tensor) -> Tensor:
        """Return the network's input [n, C, H, W], of images [n, H, W, C] that were read as a crop."""
        augmentation, cropped = self._chains[crop], self._crops[crop]
        drawn = augmentation.draw(_keys(len(images)), images.shape[1], images.shape[2], cropped=cropped)
        draws, _ = drawn.to(images.device)
        return augmentation.transform(images.permute(0, 3, 1, 2), draws, cropped=cropped)


class _Covering(Wrapped):
    """Images brought to one shape, where they don't have it already."""

    def __init__(self, source: Source, height: int, width: int, max_resolution: int | None) -> None:
        super().__init__(source)
        self.kind, self.classes, self.labels = source.kind, source.classes, source.labels
        self.fitted = 0
        self._shape, self._most, self._lock = (height, width), max_resolution, Lock()

    def read(self, index: int) -> NDArray[Any]:
        image = self._source.read(index)
        if fit(image, self._most, None).shape[:2] == self._shape:
            return image
        with self._lock:
            self.fitted += 1
        return cover(image, *self._shape)

    def encoded(self, index: int) -> bytes | None:
        content = self._source.encoded(index)
        if content is None:
            return None
        with pixel_limit(None), Image.open(io.BytesIO(content)) as image:
            return content if (image.height, image.width) == self._shape else None


def cover(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Return an image [h, w, C] cut to an aspect ratio around its center, and resized to that shape."""
    scale = min(image.shape[0] / height, image.shape[1] / width)
    high, wide = height * scale, width * scale
    top, left = (image.shape[0] - high) / 2, (image.shape[1] - wide) / 2
    box = (left, top, left + wide, top + high)
    return resized(image, (height, width), Image.Resampling.BICUBIC, box)


def _cropped(image: NDArray[Any], augmentation: Augmentation) -> NDArray[Any]:
    """Return the window of an image [h, w, C] that a augmentation begins with, as engines crop it."""
    cropping = augmentation.cropping
    assert cropping is not None
    height, width = image.shape[:2]
    windows = cropping.windows(_keys(1), height, width)
    return crop_image(image, Crop(windows, *cropping.size_of(height, width)), 0)


def _keys(count: int) -> Keys:
    """Return keys for parts that draw nothing."""
    return Keys(0, 0, 0, np.arange(count, dtype=np.int64), np.zeros(count, np.int64))
