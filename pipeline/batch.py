"""Batch: what the loader hands to a training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Draws = Mapping[str, Tensor]
"""The drawn parameters of one augmentation, by name, on the batch's device."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's samples.

    An image can be a mixture of k constituents (mixup 2, RICAP 4, plain 1). ``labels``, ``shares``,
    ``weights`` and ``owners`` are aligned: the loss of image i is
    ``sum_j weights[i, j] * shares[i, j] * loss(output[i], labels[i, j])``, and sample ``owners[i, j]`` hears
    about its own label only.

    Attributes
    ----------
    round, step
        The cursor: the order's round, and the batch's number within it, from 0.
    ids
        int64[n] on the host, as they stood in the order.
    images
        [n, C, H, W] on the device, channels_last in memory; uint8 from the loader, floating point once
        normalised.
    labels
        int64[n, k] on the device.
    shares
        float32[n, k] on the device; rows sum to 1.
    owners
        int64[n, k] on the host: the id of each constituent.
    owner_shares
        float32[n, k] on the host: ``shares`` again, so that feedback needs no copy from the device.
    weights
        float32[n, k] on the device, the order's loss multiplier of each constituent; None means all 1.
    draws
        One entry per augmentation of the chain, in its order; empty without augmentation.
    size
        Height and width asked for, where that isn't what the chain gives by itself; None otherwise.
    cropped
        Whether the engine did the work of the chain's first part.
    occurrences
        int64[n] on the host, how often each id stood earlier in the order.
    """

    round: int
    step: int
    ids: NDArray[np.int64]
    images: Tensor
    labels: Tensor
    shares: Tensor
    owners: NDArray[np.int64]
    owner_shares: NDArray[np.float32]
    weights: Tensor | None = None
    draws: tuple[Draws, ...] = ()
    size: tuple[int, int] | None = None
    cropped: bool = False
    occurrences: NDArray[np.int64] | None = None
