"""Batches: as the loader reads them, and augmented, as a training step takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment import Augmentation, Draws
from pipeline.mixture import Mixture
from pipeline.views import Views


@dataclass(frozen=True, slots=True, eq=False)
class Cursor:
    """Where a batch stands in its round: what its random numbers are keyed by, besides ids and seed.

    Attributes
    ----------
    round, step
        The order's round, and the batch's number within it, from 0.
    occurrences
        int64[n] on the host, how often each id stood earlier in the order.
    """

    round: int
    step: int
    occurrences: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PendingIds:
    """Ids of samples that the device chose: ``candidates[indices]``, known to the host once it asks.

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
"""The ids of a batch's samples, on the host or as soon as the device has chosen."""


def resolve(ids: Sequence[Ids]) -> list[NDArray[np.int64]]:
    """Return the ids of several batches, int64[n] each; waits for the device once, where any are pending."""
    pending = [one for one in ids if isinstance(one, PendingIds)]
    if not pending:
        return cast("list[NDArray[np.int64]]", list(ids))
    bounds = np.cumsum([len(one) for one in pending])[:-1]
    indices = iter(np.split(torch.cat([one.indices for one in pending]).cpu().numpy(), bounds))
    return [one.candidates[next(indices)] if isinstance(one, PendingIds) else one for one in ids]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """n augmented samples: what a training step takes.

    Attributes
    ----------
    ids
        int64[n], the samples' ids in the data set; as `PendingIds` where the device chose them.
    views
        One tensor [n, C, H, W] per view, on the device, channels_last in memory: floating point once
        normalized, uint8 where the loader has no augmentation.
    targets
        By name, [n, ...] each on the device: ``{"label": int64[n]}``.
    mixture
        What each image is made of; None where every image is one sample.
    weights
        float32[n] on the device, the loss multiplier of each sample; None means all 1.
    cursor
        Where the batch stands in its round; None where it was put together otherwise.
    """

    ids: Ids
    views: tuple[Tensor, ...]
    targets: Mapping[str, Tensor]
    mixture: Mixture | None = None
    weights: Tensor | None = None
    cursor: Cursor | None = None

    def __len__(self) -> int:
        return len(self.ids)

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


@dataclass(frozen=True, slots=True, eq=False)
class RawView:
    """One view of a batch as it was read, and what was drawn for it.

    Attributes
    ----------
    images
        uint8[n, C, H, W] on the device, channels_last in memory; of several views the same ones, unless an
        engine cut them.
    draws
        One entry per transform of the view's augmentation, on the device.
    size
        Height and width asked for, where that isn't what the augmentation gives by itself; None otherwise.
    cropped
        Whether the engine did the work of the augmentation's first transform.
    """

    images: Tensor
    draws: tuple[Draws, ...] = ()
    size: tuple[int, int] | None = None
    cropped: bool = False

    def augment(self, augmentation: Augmentation) -> Tensor:
        """Return the view augmented and normalized by what it was drawn for, [n, C, H, W] of its dtype."""
        return augmentation.at(self.size).transform(self.images, self.draws, cropped=self.cropped)


@dataclass(frozen=True, slots=True, eq=False)
class RawBatch:
    """n samples as the loader read them, with drawn parameters and the augmentation they were drawn for.

    Attributes
    ----------
    ids
        int64[n] on the host, as they stood in the order.
    views
        At least one.
    augmentation
        What the parameters were drawn for; None for images as they are.
    targets, mixture, weights, cursor
        Of the `Batch` that this becomes.
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

    @property
    def images(self) -> Tensor:
        """The images read for the first view, uint8[n, C, H, W]."""
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
        """Return everything of the batch that lies on the device."""
        kept = [view.images for view in self.views] + list(self.targets.values())
        if self.mixture is not None:
            kept += [self.mixture.device_partners, self.mixture.device_coefficients]
        if self.weights is not None:
            kept.append(self.weights)
        for view in self.views:
            for drawn in view.draws:
                kept += drawn.values()
        return kept
