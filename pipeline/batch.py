"""Batches: `RawBatch` as read by the loader, and `Batch`, augmented, for training steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment import Augmentation, Draws
from pipeline.mixture import Mixture
from pipeline.views import Views


@dataclass(frozen=True, slots=True, eq=False)
class Cursor:
    """Position of a batch in its round; its random numbers are keyed by this, ids and seed.

    Attributes
    ----------
    round, step
        The order's round, and the batch's number within it, from 0.
    occurrences
        int64[n] on the host, the number of earlier occurrences of each id in the order.
    """

    round: int
    step: int
    occurrences: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PendingIds:
    """Ids of samples chosen on the device: ``candidates[indices]``, known to the host on request.

    Attributes
    ----------
    candidates
        int64[m] on the host, the ids chosen from.
    indices
        int64[n] on the device, into ``candidates``.
    """

    candidates: NDArray[np.int64]
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, rows: slice) -> PendingIds:
        return PendingIds(self.candidates, self.indices[rows])

    def resolve(self) -> NDArray[np.int64]:
        """Return the ids, int64[n]; waits for the device."""
        ids: NDArray[np.int64] = self.candidates[self.indices.cpu().numpy()]
        return ids


Ids = NDArray[np.int64] | PendingIds
"""The ids of a batch's samples: on the host, or pending on the device."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """n augmented samples, the input of a training step.

    Attributes
    ----------
    ids
        int64[n], the samples' ids in the data set; `PendingIds` if they were chosen on the device.
    views
        One tensor [n, C, H, W] per view, on the device, channels_last in memory: floating point once
        normalized, uint8 if the loader has no augmentation.
    targets
        By name, [n, ...] each on the device: ``{"label": int64[n]}``.
    mixture
        Constituents of each image; None if every image is one sample.
    weights
        float32[n] on the device, the loss multiplier of each sample; None means all 1.
    cursor
        Position of the batch in its round; None if it wasn't made by a loader.
    """

    ids: Ids
    views: tuple[Tensor, ...]
    targets: Mapping[str, Tensor]
    mixture: Mixture | None = None
    weights: Tensor | None = None
    cursor: Cursor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Batch({_shown(self.views)}{_described(self.targets, self.mixture, self.weights)})"

    @property
    def images(self) -> Tensor:
        """The first view, [n, C, H, W]."""
        return self.views[0]

    def split(self, count: int) -> tuple[Batch, ...]:
        """Return the batch in ``count`` parts of equally many consecutive images, without copies.

        The samples of a mixed image may stand in other parts than the image: targets and weights are then
        whole in each part, and `constituents` picks those of its images.

        Raises
        ------
        ValueError
            When ``count`` doesn't divide the number of images.
        """
        rows, rest = divmod(len(self), count)
        if rest:
            raise ValueError(f"a batch must be divisible into {count} equal parts; got {len(self)} images")
        return tuple(self._rows(slice(i * rows, (i + 1) * rows)) for i in range(count))

    def _rows(self, rows: slice) -> Batch:
        views = tuple(view[rows] for view in self.views)
        if self.mixture is not None:
            mixture = self.mixture[rows]
            return Batch(self.ids[rows], views, self.targets, mixture, self.weights, self.cursor)
        targets = {name: values[rows] for name, values in self.targets.items()}
        weights = None if self.weights is None else self.weights[rows]
        return Batch(self.ids[rows], views, targets, None, weights, self.cursor)

    def constituents(self, values: Tensor) -> Tensor:
        """Return the values of each image's constituents, [n, k, ...], of values per sample, [n, ...].

        k is 1 without mixing.
        """
        return values[:, None] if self.mixture is None else self.mixture.gather(values)

    def per_image(self, values: Tensor) -> Tensor:
        """Return each image's sum of values per constituent, [n, k], by the mixture's coefficients: [n]."""
        return values[:, 0] if self.mixture is None else self.mixture.per_image(values)

    def per_sample(self, values: Tensor) -> Tensor:
        """Return each sample's mean of values per constituent, [n, k], over the images that show it: [n]."""
        return values[:, 0] if self.mixture is None else self.mixture.per_sample(values)


def _shown(views: Sequence[Tensor]) -> str:
    """Return the number, shape, type and device of images."""
    first = views[0]
    count = "" if len(views) == 1 else f"{len(views)} views of "
    dtype = str(first.dtype).removeprefix("torch.")
    return f"{count}{'x'.join(map(str, first.shape))} {dtype} on {first.device}"


def _described(targets: Mapping[str, Tensor], mixture: Mixture | None, weights: Tensor | None) -> str:
    """Return the rest of a batch in words."""
    text = "".join(f", {name}" for name in targets)
    text += "" if mixture is None else f", mixed from {mixture.partners.shape[1]} each"
    return text + ("" if weights is None else ", weighted")


@dataclass(frozen=True, slots=True, eq=False)
class RawView:
    """One view of a raw batch, with the parameters drawn for it.

    Attributes
    ----------
    images
        uint8[n, C, H, W] on the device, channels_last in memory; of several views the same ones, unless an
        engine cut them.
    draws
        One entry per transform of the view's augmentation, on the device.
    size
        Requested height and width, if they differ from the augmentation's own; None otherwise.
    cropped
        Whether the engine applied the augmentation's first transform.
    """

    images: Tensor
    draws: tuple[Draws, ...] = ()
    size: tuple[int, int] | None = None
    cropped: bool = False

    def augment(self, augmentation: Augmentation) -> Tensor:
        """Return the view, augmented and normalized by ``augmentation``, [n, C, H, W] of its dtype."""
        return augmentation.at(self.size).transform(self.images, self.draws, cropped=self.cropped)


@dataclass(frozen=True, slots=True, eq=False)
class RawBatch:
    """n samples as read, with drawn parameters and the augmentation that they were drawn for.

    Attributes
    ----------
    ids
        int64[n] on the host, in the sequence of the order.
    views
        At least one.
    augmentation
        The augmentation that the parameters were drawn for; None for images as they are.
    targets, mixture, weights, cursor
        As in `Batch`.
    """

    ids: NDArray[np.int64]
    views: tuple[RawView, ...]
    augmentation: Views | None
    targets: Mapping[str, Tensor]
    mixture: Mixture | None
    weights: Tensor | None
    cursor: Cursor

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        images = _shown([view.images for view in self.views])
        return f"RawBatch({images}{_described(self.targets, self.mixture, self.weights)})"

    @property
    def images(self) -> Tensor:
        """Images of the first view, uint8[n, C, H, W]."""
        return self.views[0].images

    def augment(self) -> Batch:
        """Return the batch augmented and normalized, on the device of its images, without waiting for it."""
        if self.augmentation is None:
            views = tuple(view.images for view in self.views)
        else:
            pairs = zip(self.views, self.augmentation.transforms, strict=True)
            views = tuple(view.augment(augmentation) for view, augmentation in pairs)
        return Batch(self.ids, views, self.targets, self.mixture, self.weights, self.cursor)

    def tensors(self) -> list[Tensor]:
        """Return all tensors of the batch on the device."""
        kept = [view.images for view in self.views] + list(self.targets.values())
        if self.mixture is not None:
            kept += [self.mixture.device_partners, self.mixture.device_coefficients]
        if self.weights is not None:
            kept.append(self.weights)
        for view in self.views:
            for drawn in view.draws:
                kept += drawn.values()
        return kept
