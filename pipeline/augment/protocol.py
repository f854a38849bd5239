"""Protocols of augmentations: draw() on the host, apply() on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.crop import Windows
from pipeline.mixture import Mixture
from pipeline.randomness import Keys

HostArrays = Mapping[str, NDArray[np.generic]]
"""Parameters drawn for one augmentation, by name, on the host."""

Draws = Mapping[str, Tensor]
"""The same parameters, on the batch's device."""

Domain = Literal["uint8", "float", "any"]
"""The pixel values that an augmentation works on: levels 0 to 255, normalized floats, or either."""


@runtime_checkable
class Augment(Protocol):
    """One augmentation: a frozen dataclass whose fields are its options."""

    domain: ClassVar[Domain]

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw the parameters of a batch of images of ``height`` x ``width`` pixels.

        Every array's first axis has length n, and all shapes depend only on n, height and width. A name with
        a slash marks a group instead, with rows for some of the samples only, whose number the host knows.
        """

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply drawn parameters.

        Batched, without waiting for the device, and without changing ``images``.

        Parameters
        ----------
        images
            [n, C, H, W], of the augmentation's domain, channels_last in memory.
        draws
            The result of `draw`, on the device of ``images``.

        Returns
        -------
        [n, C, H, W] of the same dtype, channels_last in memory; of the same size, except for `Resizing`.
        """


@runtime_checkable
class Mixing(Augment, Protocol):
    """An augmentation that composes each image from several samples of the batch.

    One that blends whole images, so that every pixel has the same coefficients, declares ``patches:
    ClassVar[bool] = False``; any other is assumed to compose images from patches, and a chain may have at
    most one of these.
    """

    def constituents(self, draws: HostArrays) -> Mixture:
        """Return each image's source samples and their coefficients."""


@runtime_checkable
class Resizing(Augment, Protocol):
    """An augmentation that may change the size of images."""

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Return the output's height and width for images of ``height`` x ``width`` pixels."""

    def sized(self, height: int, width: int) -> Resizing:
        """Return the same augmentation with this output size."""


@runtime_checkable
class Cropping(Resizing, Protocol):
    """An augmentation that crops one window of each image and resizes it.

    At the beginning of a chain it may be executed by the engine, so that no more of an image is read than it
    needs, and images may differ in shape.
    """

    @property
    def size(self) -> int | tuple[int, int] | None:
        """Output height and width; one number for both, None for the image's own."""

    def windows(
        self, keys: Keys, heights: NDArray[np.int64] | int, widths: NDArray[np.int64] | int
    ) -> Windows:
        """Draw windows of a batch of images of these shapes: int64[n] each, or one number for all."""
