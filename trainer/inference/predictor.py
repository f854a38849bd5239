"""Predictor: a trained network with its task and its preprocessing, ready for new images."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from pipeline import Augmentation, CorruptSampleError, EngineConfig, Loader
from pipeline.augment.center_crop import CenterCrop
from pipeline.formats import Converted, is_converted
from pipeline.formats.parallel import in_order
from pipeline.machine import cores
from pipeline.ops.memory import place
from pipeline.sources.loose import AnyImage, LooseImages
from pipeline.sources.protocol import Source
from pipeline.views import Views
from trainer.errors import RunError
from trainer.hardware.precision import at_least_float32
from trainer.inference.predict import EverySample, forward
from trainer.inference.prediction import Prediction
from trainer.inference.preprocessing import Pictures, Preprocessing
from trainer.inference.tasks import Task

BATCH = 512
"""Images of a converted set per forward pass, as in a run's evaluation."""
_NEW_BATCH = 128
"""New images per forward pass; all of them are held in memory, with those that wait for their turn."""
_CHUNK = 8
"""New images that a thread reads in one go."""

Broken = Callable[[int, str], None]
"""Called with the index of an image that can't be read, and the line that says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """A network's answers for some images.

    Attributes
    ----------
    indices
        int64[n], the images' numbers in their set.
    answers
        float32[n, C] on the device, as the network's task has them.
    """

    indices: NDArray[np.int64]
    answers: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """A trained network, as `trainer.load` returns it.

    Attributes
    ----------
    network
        In evaluation mode, on the device: from images [n, C, H, W] of `preprocess` to its outputs, logits of
        classes or labels, or values.
    task
        What the outputs answer.
    preprocessing
        Of images.
    bf16
        Whether forward passes run under bf16 autocast.
    about
        Where the network comes from: recipe, data, accuracy, budget.
    """

    network: nn.Module
    task: Task
    preprocessing: Preprocessing
    bf16: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        height, width = self.preprocessing.size
        family = type(self.network).__name__
        return f"Predictor({family}, {self.task.words}; {height}x{width} px, {self.device})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes or labels, in the order of the outputs; empty for values."""
        return self.task.spec.classes

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the network's weights and of its input."""
        return next(self.network.parameters()).dtype

    def predict(self, images: AnyImage | Sequence[AnyImage]) -> list[Prediction]:
        """Return the predictions of images: classes or labels with probabilities, or values.

        Parameters
        ----------
        images
            One image or a sequence: paths, Pillow images, or arrays, such as uint8[h, w, 3].

        Raises
        ------
        CorruptSampleError
            When one can't be read; the line names it.
        """
        return list(self.predictions(_source_of(images)))

    def predictions(
        self,
        images: Converted | Source,
        *,
        engine: EngineConfig | None = None,
        broken: Broken | None = None,
        note: Callable[[str], None] | None = None,
    ) -> Iterator[Prediction]:
        """Yield the predictions of a set's images as `run` does, with names."""
        name = images.name if is_converted(images) else images.sample_name
        for part in self.run(images, engine=engine, broken=broken, note=note):
            names = [name(index) for index in part.indices.tolist()]
            yield from self.task.predictions(names, part.answers)

    def preprocess(self, images: AnyImage | Sequence[AnyImage]) -> Tensor:
        """Return the network's input [n, C, H, W] for images as `predict` takes them, on its device."""
        source = _source_of(images)
        return self.inputs(source, range(len(source)))

    def inputs(self, source: Source, indices: Iterable[int]) -> Tensor:
        """Return the network's input [n, C, H, W] for some images of a source, on its device."""
        pictures = Pictures(source, self.preprocessing, self.preprocessing.augmentations(self.dtype))
        read = np.stack([pictures.read(index)[0] for index in indices])
        return pictures.normalized(0, place(read, self.device))

    def run(
        self,
        images: Converted | Source,
        *,
        flip: bool = False,
        crops: int = 1,
        engine: EngineConfig | None = None,
        broken: Broken | None = None,
        note: Callable[[str], None] | None = None,
    ) -> Iterator[Predicted]:
        """Yield the predictions of a set's images, in order, with bounded memory.

        Of a converted set they are shown as in the run's evaluation. Others are read, converted in memory as
        the run's test set was, and shown the same way.

        Parameters
        ----------
        flip
            Test-time augmentation: average the probabilities, or values, with those of the mirrored image.
        crops
            Test-time augmentation: 5 averages over the central crop and the corners'; 1 is the evaluation's.
        engine
            How a converted set is read; the resident engine by default.
        broken
            Called for each new image that can't be read, which is left out; None raises.
        note
            Called with a line on images that had to be cut to another shape.

        Raises
        ------
        CorruptSampleError
            When an image can't be read.
        """
        if is_converted(images):
            parts = self._stored(images, crops, engine)
        else:
            parts = self._new(images, crops, broken, note)
        with closing(parts):
            for indices, views in parts:
                yield Predicted(indices, self._averaged(views, flip))

    @torch.no_grad()
    def _averaged(self, views: Sequence[Tensor], flip: bool) -> Tensor:
        """Answers, the mean over views, [n, C]."""
        shown = [*views, *(view.flip(3) for view in views)] if flip else list(views)
        return self.task.answers([at_least_float32(forward(self.network, view, self.bf16)) for view in shown])

    def _stored(
        self, data: Converted, crops: int, engine: EngineConfig | None
    ) -> Generator[tuple[NDArray[np.int64], tuple[Tensor, ...]], None, None]:
        if data.card.mode != self.preprocessing.mode:
            raise RunError(
                f"images must have the mode that the network was trained with, {self.preprocessing.mode}; "
                f"those of {data.path} have {data.card.mode}: convert them with --mode "
                f"{quote(self.preprocessing.mode)}, or give the images that they were made from"
            )
        with Loader(data, engine=engine, batch_size=BATCH, device=self.device) as loader:
            augmentations = self.preprocessing.augmentations(self.dtype, crops)
            if loader.shape is None and augmentations[0].cropping is None:
                # The evaluated set had images of one shape, this one has not.
                augmentations = (augmentations[0].plain(CenterCrop(fraction=1.0)),)
            stage = self.preprocessing.stage
            for batch in loader.batches(EverySample(len(data)), augment=Views(augmentations), stage=stage):
                assert isinstance(batch.ids, np.ndarray)
                yield batch.ids, batch.views

    def _new(
        self, source: Source, crops: int, broken: Broken | None, note: Callable[[str], None] | None
    ) -> Generator[tuple[NDArray[np.int64], tuple[Tensor, ...]], None, None]:
        augmentations = self.preprocessing.augmentations(self.dtype, crops)
        pictures = Pictures(source, self.preprocessing, augmentations)
        indices: list[int] = []
        held: list[list[NDArray[Any]]] = []
        chunks = (range(start, min(start + _CHUNK, len(source))) for start in range(0, len(source), _CHUNK))
        for chunk in in_order(lambda chunk: _read(pictures, chunk), chunks, cores()):
            for index, found in chunk:
                if isinstance(found, CorruptSampleError):
                    if broken is None:
                        raise found
                    broken(index, str(found))
                    continue
                indices.append(index)
                held.append(found)
                if len(held) == _NEW_BATCH:
                    yield self._batch(pictures, indices, held, augmentations)
                    indices, held = [], []
        if held:
            yield self._batch(pictures, indices, held, augmentations)
        if pictures.fitted and note is not None:
            asked = self.preprocessing
            note(
                f"{pictures.fitted:,} of {len(source):,} images are not {asked.height}x{asked.width} "
                "pixels, as those that the network was evaluated on: their middle is cut out and resized"
            )

    def _batch(
        self,
        pictures: Pictures,
        indices: list[int],
        held: list[list[NDArray[Any]]],
        augmentations: Sequence[Augmentation],
    ) -> tuple[NDArray[np.int64], tuple[Tensor, ...]]:
        views = (np.stack([crops[view] for crops in held]) for view in range(len(augmentations)))
        tensors = tuple(
            pictures.normalized(view, place(images, self.device)) for view, images in enumerate(views)
        )
        return np.array(indices, np.int64), tensors


def _read(pictures: Pictures, chunk: range) -> list[tuple[int, list[NDArray[Any]] | CorruptSampleError]]:
    found: list[tuple[int, list[NDArray[Any]] | CorruptSampleError]] = []
    for index in chunk:
        try:
            found.append((index, pictures.read(index)))
        except CorruptSampleError as error:
            found.append((index, error))
    return found


def _source_of(images: AnyImage | Sequence[AnyImage]) -> LooseImages:
    """Return images of a caller's as a source."""
    one = isinstance(images, str | Path | Image.Image) or getattr(images, "ndim", 4) < 4
    listed = [images] if one else list(images)  # type: ignore[arg-type]
    if not listed:
        raise RunError("images must hold at least one image; got none")
    return LooseImages(listed)  # type: ignore[arg-type]
