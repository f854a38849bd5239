"""Assembly of batches: reads this rank's samples, draws parameters, copies to the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment import Augmentation, Cropping, HostDraws
from pipeline.batch import Cursor, RawBatch, RawView
from pipeline.crop import Crop
from pipeline.engines import Dataset, EngineConfig, Reader
from pipeline.engines.protocol import Pipelined
from pipeline.errors import DataError
from pipeline.loading.request import Request
from pipeline.multiplied import Multiplied, copies_of
from pipeline.randomness import Keys
from pipeline.resolution import Stage
from pipeline.transfer import place
from pipeline.views import Views

End = Callable[[Callable[[], object]], RawBatch]
_Begin = Callable[[NDArray[np.int64], tuple[Crop, ...]], Callable[[], tuple[Tensor, ...]]]
_Level = tuple[Dataset, Reader, _Begin]


class Assembly:
    """Reads the samples of batches, draws parameters, and copies both to the device; used by one thread.

    A data set with its images at several sizes is opened once per size, on first use.
    """

    def __init__(self, dataset: Dataset, engine: EngineConfig, device: torch.device, seed: int) -> None:
        self._targets = dataset.targets
        self._multiplied = dataset if isinstance(dataset, Multiplied) else None
        # Engines read, and resident keeps, every image once, however many copies the set has.
        self._stored = dataset if self._multiplied is None else self._multiplied.dataset
        self._engine = engine
        self._device = device
        self._seed = seed
        self._full = engine.open(self._stored, device)
        self._whole: _Level = self._stored, self._full, _begins(self._full)
        self._readers: dict[int, _Level] = {}

    @property
    def asynchronous(self) -> bool:
        """Whether reading takes long enough for a thread of its own."""
        return self._full.asynchronous

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of all images, None where they differ."""
        if self._full.height is None or self._full.width is None:
            return None
        return self._full.height, self._full.width

    def close(self) -> None:
        """Close every reader."""
        self._full.close()
        for _, reader, _ in self._readers.values():
            reader.close()

    def check(self, views: Views | None, stage: Stage) -> None:
        """Raise `DataError` if a view's images wouldn't have one size."""
        stages = () if views is None else views.stages(stage)
        if self.shape is not None:
            return
        croppings = [] if views is None else [augmentation.cropping for augmentation in views.transforms]
        if not croppings or not all(map(_sizes, croppings, stages)):
            raise DataError(
                f"the images of {self._stored.path} differ in shape: begin the augmentation with "
                "random_resized_crop or center_crop and give a size or resolution in pixels, or convert "
                "them with "
                "`trainer convert --square S`"
            )

    def begin(self, request: Request, step: int, part: slice) -> End:
        """Begin batch ``step`` of the round, of the samples ``part``; return a function that ends it.

        Engines that can decode in the background begin here. The returned function calls its argument once
        the images are read, before the copy to the device.
        """
        ids = request.ids[part].copy()
        weights = None if request.weights is None else request.weights[part].astype(np.float32)
        cursor = Cursor(request.round, step, request.occurrences[part])
        return self._assemble(ids, cursor, weights, request.views, request.stage)

    def reread(self, raw: RawBatch, indices: NDArray[np.int64], stage: Stage) -> RawBatch:
        """Return a batch of some samples of another one, with the same random numbers, at another stage."""
        cursor = Cursor(raw.cursor.round, raw.cursor.step, raw.cursor.occurrences[indices])
        reread = self._assemble(raw.ids[indices], cursor, None, raw.augmentation, stage)(lambda: None)
        if raw.weights is None:
            return reread
        return replace(reread, weights=raw.weights.index_select(0, place(indices, self._device)))

    def _assemble(
        self,
        ids: NDArray[np.int64],
        cursor: Cursor,
        weights: NDArray[np.float32] | None,
        views: Views | None,
        stage: Stage,
    ) -> End:
        stored = ids if self._multiplied is None else self._multiplied.stored[ids]
        stages = (stage,) if views is None else views.stages(stage)
        dataset, reader, begin = self._level(stages)
        # If one view needs whole images, the others are cut from them on the device.
        by_engine = views is not None and views.crops and reader.crops
        crops: list[Crop] = []
        plans: list[tuple[HostDraws, tuple[int, int] | None]] = []
        for view, augmentation in enumerate(() if views is None else views.transforms):
            keys = Keys(
                self._seed,
                cursor.round,
                cursor.step,
                ids,
                cursor.occurrences,
                view=view,
                copies=copies_of(self._multiplied, ids),
                magnitude=stage.magnitude,
                resolution=stages[view].resolution,
            )
            size = _target(augmentation, reader, stages[view].pixels)
            sized = augmentation.at(size)
            if by_engine:
                assert sized.cropping is not None
                windows = sized.cropping.windows(keys, dataset.heights[stored], dataset.widths[stored])
                crop = Crop(windows, *sized.cropping.size_of(reader.height or 0, reader.width or 0))
                drawn = sized.draw(keys, crop.height, crop.width, cropped=True)
                crops.append(crop)
            else:
                assert reader.height is not None
                assert reader.width is not None
                drawn = sized.draw(keys, reader.height, reader.width)
            plans.append((drawn, size))
        read = begin(stored, tuple(crops))

        def end(placing: Callable[[], object]) -> RawBatch:
            images = read()
            placing()
            images = tuple(view.to(self._device, non_blocking=True) for view in images)
            raw, mixture = [], None
            for view, (drawn, size) in enumerate(plans):
                draws, mixture = drawn.to(self._device)
                raw.append(RawView(images[view if by_engine else 0], draws, size, cropped=by_engine))
            return RawBatch(
                ids=ids,
                views=tuple(raw) or (RawView(images[0]),),
                augmentation=views,
                targets={name: place(values[ids], self._device) for name, values in self._targets.items()},
                mixture=mixture,
                weights=None if weights is None else place(weights, self._device),
                cursor=cursor,
            )

        return end

    def _level(self, stages: Sequence[Stage]) -> _Level:
        """Return the reader of the smallest stored size that serves every view."""
        wanted = [stage.pixels for stage in stages if stage.pixels is not None]
        pixels = max(wanted) if len(wanted) == len(stages) else None
        levels: Sequence[int] = self._stored.levels
        level = next((level for level in levels if pixels is not None and level >= pixels), None)
        if level is None:
            return self._whole
        if level not in self._readers:
            dataset = self._stored.at(level)
            reader = self._engine.open(dataset, self._device)
            self._readers[level] = dataset, reader, _begins(reader)
        return self._readers[level]


def _begins(reader: Reader) -> _Begin:
    """Return how a reader begins a batch: in the background if it can, else when the batch is waited for."""
    # isinstance on a runtime_checkable Protocol is slow; once per reader is enough.
    pipelined = reader if isinstance(reader, Pipelined) else None

    def begin(ids: NDArray[np.int64], crops: tuple[Crop, ...]) -> Callable[[], tuple[Tensor, ...]]:
        if len(crops) > 1:
            if pipelined is not None:
                return pipelined.begin_views(ids, crops)
            return partial(reader.read_views, ids, crops)
        crop = crops[0] if crops else None
        read = partial(reader.read, ids, crop) if pipelined is None else pipelined.begin(ids, crop)
        return lambda: (read(),)

    return begin


def _sizes(cropping: Cropping | None, stage: Stage) -> bool:
    """Whether a view's crop brings images of different shapes to one size."""
    return cropping is not None and (stage.pixels is not None or cropping.size is not None)


def _target(augmentation: Augmentation, reader: Reader, pixels: int | None) -> tuple[int, int] | None:
    """Return the height and width to resize to, of shorter side ``pixels``; None if images have them."""
    if pixels is None:
        return None
    if reader.height is None or reader.width is None:
        return pixels, pixels
    scale = pixels / min(reader.height, reader.width)
    size = max(1, round(reader.height * scale)), max(1, round(reader.width * scale))
    if augmentation.cropping is None and size == (reader.height, reader.width):
        return None
    return size
