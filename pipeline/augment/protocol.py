"""What an augmentation is: draw() on the host, apply() on the device."""

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
"""The drawn parameters of one augmentation, by name, on the host."""

Draws = Mapping[str, Tensor]
"""The same, on the batch's device."""

Domain = Literal["uint8", "float", "any"]
"""The pixels that a part takes and gives: grey levels 0 to 255, normalised floats, or either of them."""


@runtime_checkable
class Augment(Protocol):
    """One augmentation: a frozen dataclass whose fields are its options."""

    domain: ClassVar[Domain]

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw the parameters of a batch of images of ``height`` x ``width`` pixels.

        Every array's first axis has length n, and all shapes follow from n, height and width alone. A name
        with a slash marks a group instead: rows for some of the samples only, whose number the host knows.
        """

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply drawn parameters.

        Batched, without waiting for the device, and without changing ``images``.

        Parameters
        ----------
        images
            [n, C, H, W], of the part's domain, channels_last in memory.
        draws
            What `draw` gave, moved to the device of ``images``.

        Returns
        -------
        [n, C, H, W] of the same dtype, channels_last in memory; of the same size, but for `Resizing`.
        """


@runtime_checkable
class Mixing(Augment, Protocol):
    """An augmentation that makes each image of several samples of the batch.

    A part that blends whole images, so that every pixel has the same coefficients, declares ``patches:
    ClassVar[bool] = False``; any other is taken to put images together from pieces, and a chain takes one
    such part at most.
    """

    def constituents(self, draws: HostArrays) -> Mixture:
        """Return which samples each image is made of, and how much of it each is."""


@runtime_checkable
class Resizing(Augment, Protocol):
    """An augmentation that may give images of another size."""

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Give height and width of what becomes of images of ``height`` x ``width`` pixels."""

    def sized(self, height: int, width: int) -> Resizing:
        """Give the same part, whose images are to have this size."""


@runtime_checkable
class Cropping(Resizing, Protocol):
    """An augmentation that takes one window of each image and resizes it.

    At the beginning of a chain an engine may do its work, so that no more of an image is read than it needs,
    and images may differ in shape.
    """

    @property
    def size(self) -> int | tuple[int, int] | None:
        """Height and width to give; one number for both, None for the image's own."""

    def windows(
        self, keys: Keys, heights: NDArray[np.int64] | int, widths: NDArray[np.int64] | int
    ) -> Windows:
        """Draw the windows of a batch of images of these shapes: int64[n] each, or one number for all."""
