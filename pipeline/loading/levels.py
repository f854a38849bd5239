"""A data set opened at the sizes that it holds, and how batches are made of it: once per resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.augment import Augmentation, Cropping
from pipeline.augment.sequence import needs_eight_bits
from pipeline.engines import Dataset, EngineConfig, Reader
from pipeline.engines.protocol import Pipelined
from pipeline.errors import DataError
from pipeline.resolution import Stage
from pipeline.views import Views


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """How one view is read and drawn.

    Attributes
    ----------
    augmentation
        For images of ``size``.
    size
        Height and width asked for, where that isn't what the augmentation gives by itself; None otherwise.
    shape
        Height and width of the images that parameters are drawn for.
    cropping
        What draws the windows that the engine cuts; None where whole images are read.
    magnitude, resolution
        Of the view's stage.
    """

    augmentation: Augmentation
    size: tuple[int, int] | None
    shape: tuple[int, int]
    cropping: Cropping | None
    magnitude: float
    resolution: float


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """How the batches of one augmentation and one stage are made.

    Attributes
    ----------
    reader
        Of the smallest size that serves every view.
    pipelined
        The reader, where it can begin a batch in the background.
    heights, widths
        int64[n], of the images that it reads.
    augmentation
        What is drawn for; None for images as they are.
    views
        One per view of the augmentation.
    by_engine
        Whether the engine cuts the views' windows.
    """

    reader: Reader
    pipelined: Pipelined | None
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    augmentation: Views | None
    views: tuple[ViewSpec, ...]
    by_engine: bool


class Levels:
    """A data set that an engine opens once per size that it holds, when that is first asked for."""

    def __init__(self, dataset: Dataset, engine: EngineConfig, device: torch.device) -> None:
        self.full = engine.open(dataset, device)
        self._dataset = dataset
        self._engine = engine
        self._device = device
        self._opened: dict[int, tuple[Dataset, Reader]] = {}

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of all images, None where they differ."""
        if self.full.height is None or self.full.width is None:
            return None
        return self.full.height, self.full.width

    def close(self) -> None:
        """Close every reader."""
        self.full.close()
        for _, reader in self._opened.values():
            reader.close()

    def spec(self, views: Views | None, stage: Stage) -> BatchSpec:
        """Return how batches are made: what no batch has to look up again.

        Raises
        ------
        DataError
            Where a view's images would not come to one size.
        """
        stages = (stage,) if views is None else views.stages(stage)
        self._check(views, stages)
        dataset, reader = self._level(stages)
        # Where one view needs whole images, the others are cut from them on the device.
        by_engine = views is not None and views.crops and reader.crops
        augmentations = () if views is None else views.transforms
        return BatchSpec(
            reader=reader,
            # Looking through a protocol takes long: once is enough.
            pipelined=reader if isinstance(reader, Pipelined) else None,
            heights=dataset.heights,
            widths=dataset.widths,
            augmentation=views,
            views=tuple(
                _view_spec(augmentation, reader, of_view, by_engine)
                for augmentation, of_view in zip(augmentations, stages, strict=False)
            ),
            by_engine=by_engine,
        )

    def _check(self, views: Views | None, stages: Sequence[Stage]) -> None:
        for augmentation in () if views is None else views.transforms:
            check_bits(augmentation, self._dataset)
        if self.shape is not None:
            return
        croppings = [] if views is None else [augmentation.cropping for augmentation in views.transforms]
        if not croppings or not all(map(_sizes, croppings, stages)):
            raise DataError(
                f"the images of {self._dataset.path} differ in shape: begin the augmentation with "
                "random_resized_crop or center_crop and give a size or resolution in pixels, or convert "
                "them with "
                "`trainer convert --square S`"
            )

    def _level(self, stages: Sequence[Stage]) -> tuple[Dataset, Reader]:
        """The smallest size that serves the pixels of every view, opened."""
        wanted = [stage.pixels for stage in stages if stage.pixels is not None]
        pixels = max(wanted) if len(wanted) == len(stages) else None
        levels: Sequence[int] = self._dataset.levels
        level = next((level for level in levels if pixels is not None and level >= pixels), None)
        if level is None:
            return self._dataset, self.full
        if level not in self._opened:
            dataset = self._dataset.at(level)
            self._opened[level] = dataset, self._engine.open(dataset, self._device)
        return self._opened[level]


def check_bits(augmentation: Augmentation, dataset: Dataset) -> None:
    """Refuse parts of an augmentation that don't take images of 16 bits, where a set has those.

    Raises
    ------
    DataError
        The line names the first such part.
    """
    part = needs_eight_bits(augmentation.parts) if dataset.mode == "I;16" else None
    if part is not None:
        raise DataError(
            f"images of 16 bits take crops, flips, cutout and mixing, and no {part}, which computes with "
            f"levels of 8; those of {dataset.path} are of mode I;16: leave it out, or convert with --mode L"
        )


def _view_spec(augmentation: Augmentation, reader: Reader, stage: Stage, by_engine: bool) -> ViewSpec:
    size = _target(augmentation, reader, stage.pixels)
    sized = augmentation.at(size)
    cropping = sized.cropping if by_engine else None
    if cropping is not None:
        shape = cropping.size_of(reader.height or 0, reader.width or 0)
    else:
        assert reader.height is not None
        assert reader.width is not None
        shape = reader.height, reader.width
    return ViewSpec(sized, size, shape, cropping, stage.magnitude, stage.resolution)


def _sizes(cropping: Cropping | None, stage: Stage) -> bool:
    """Whether a view's crop brings images of different shapes to one size."""
    return cropping is not None and (stage.pixels is not None or cropping.size is not None)


def _target(augmentation: Augmentation, reader: Reader, pixels: int | None) -> tuple[int, int] | None:
    """Height and width to bring images to, the shorter side ``pixels``; None where they come so."""
    if pixels is None:
        return None
    if reader.height is None or reader.width is None:
        return pixels, pixels
    scale = pixels / min(reader.height, reader.width)
    size = max(1, round(reader.height * scale)), max(1, round(reader.width * scale))
    if augmentation.cropping is None and size == (reader.height, reader.width):
        return None
    return size
