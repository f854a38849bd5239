"""Augmentation: a sequence of parts, with normalization before the first one that needs floats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.center_crop import Resize
from pipeline.augment.protocol import Augment, Cropping, Draws, HostArrays, Mixing, Resizing
from pipeline.augment.sequence import check_order, needs_eight_bits, scopes
from pipeline.errors import DataError
from pipeline.mixture import Mixture
from pipeline.ops.memory import place_all, to_images, to_pixels
from pipeline.randomness import Keys


@dataclass(frozen=True, slots=True)
class HostDraws:
    """The parameters that an augmentation drew for a batch, on the host.

    Attributes
    ----------
    parts
        One entry per part of the augmentation, in its order.
    mixture
        Constituents of each image after all mixing, tensors on the CPU; None if nothing mixes.
    """

    parts: tuple[HostArrays, ...]
    mixture: Mixture | None = None

    def to(self, device: torch.device) -> tuple[tuple[Draws, ...], Mixture | None]:
        """Return both on ``device``, without waiting for the copy."""
        return self.of(iter(place_all(self.arrays(device), device)), device)

    def arrays(self, device: torch.device) -> list[NDArray[Any]]:
        """Return the arrays that must be placed on ``device``, so that a batch's go there in one copy."""
        flat: list[NDArray[Any]] = [array for drawn in self.parts for array in drawn.values()]
        if self.mixture is not None and self.mixture.device_partners.device != device:
            flat += self.mixture.partners, self.mixture.coefficients
        return flat

    def of(self, placed: Iterator[Tensor], device: torch.device) -> tuple[tuple[Draws, ...], Mixture | None]:
        """Return both on ``device``, of the next tensors of ``placed``: those of `arrays`."""
        draws = tuple({name: next(placed) for name in drawn} for drawn in self.parts)
        mixture = self.mixture
        if mixture is not None and mixture.device_partners.device != device:
            # In the order of `arrays`, as arguments are evaluated.
            mixture = replace(mixture, device_partners=next(placed), device_coefficients=next(placed))
        return draws, mixture


class Augmentation:
    """Augmentations in sequence, then (or in between) normalization to (x / 255 - mean) / std.

    Images of 16 bits are divided by 65,535; parts that compute with levels of 8 bits don't take them.

    Parameters
    ----------
    parts
        In the order in which they are applied. Parts on gray levels come before parts on normalized floats,
        and mixing comes last: what changes an image after it was mixed would make its labels' coefficients
        untrue. So would a second part that puts images together from pieces (ricap, cutmix): a piece of an
        image that is itself made of pieces holds them in other coefficients than the whole. mixup may stand
        before or after one. Nothing is added to the parts.
    mean, std
        One value per channel, of pixels scaled to [0, 1]; both None for images that are normalized already.
    dtype
        Dtype of the normalized images.

    Attributes
    ----------
    cropping
        The first part, if engines can apply it; else None.

    Raises
    ------
    DataError
        On an order that can't work, and on a standard deviation that isn't positive.
    """

    def __init__(
        self,
        parts: Sequence[Augment],
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.parts = tuple(parts)
        self.mean = tuple(float(value) for value in mean or ())
        self.std = tuple(float(value) for value in std or ())
        self.normalizes = mean is not None
        self.dtype = dtype
        if len(self.mean) != len(self.std) or bool(self.mean) != self.normalizes:
            raise DataError(
                f"mean and std must each hold one value per channel; got {len(self.mean)} and {len(self.std)}"
            )
        if not all(value > 0 for value in self.std):
            raise DataError(f"std must be above 0 in every channel; got {self.std}")
        check_order(self.parts)
        self._normalize_at = next(
            (index for index, part in enumerate(self.parts) if part.domain == "float"), len(self.parts)
        )
        self._scopes = scopes(self.parts)
        # isinstance on a runtime_checkable Protocol is as slow as drawing for a batch; cache the result.
        first = self.parts[0] if self.parts else None
        self.cropping: Cropping | None = first if isinstance(first, Cropping) else None
        self._mixes = tuple(isinstance(part, Mixing) for part in self.parts)
        self._resizes = tuple(isinstance(part, Resizing) for part in self.parts)
        self._tiles: dict[tuple[torch.device, int, int], tuple[Tensor, Tensor]] = {}
        self._calls = 0
        self._sized: dict[tuple[int, int], Augmentation] = {}

    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self.parts))}]"

    def __call__(
        self, images: Tensor, labels: Tensor, *, step: int | None = None, seed: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw parameters for a batch and augment it, in a loop without the loader.

        The parameters depend on the seed, the step, and each image's index in the batch.

        Parameters
        ----------
        images
            uint8[n, C, H, W] on any device, or uint16 where no part computes with levels of 8 bits.
        labels
            int64[n]
        step
            Number of the batch, at least 0; pass it so that a resumed loop repeats its draws. None counts the
            calls of this augmentation without one.
        seed
            Seed in [0, 2**32).

        Returns
        -------
        images
            [n, C, H, W] of the augmentation's dtype, normalized, channels_last in memory.
        labels
            int64[n, k], the labels of each image's constituents; k is 1 without mixing.
        coefficients
            float32[n, k]; rows sum to 1. An image's loss is the sum of its labels' losses by their
            coefficients.

        Raises
        ------
        DataError
            On images of another type or shape, and on labels that aren't one per image.
        """
        wide = images.dtype == torch.uint16 and needs_eight_bits(self.parts) is None
        if images.ndim != 4 or not (wide or images.dtype == torch.uint8):
            raise DataError(
                f"images must be uint8 of shape [n, C, H, W]; got {images.dtype} of shape "
                f"{tuple(images.shape)}"
            )
        if labels.shape != images.shape[:1]:
            raise DataError(f"labels must be one per image; got shape {tuple(labels.shape)}")
        if step is None:
            step, self._calls = self._calls, self._calls + 1
        indices = np.arange(len(images), dtype=np.int64)
        keys = Keys(seed, step, step, indices, np.zeros_like(indices))
        drawn = self.draw(keys, images.shape[2], images.shape[3])
        draws, mixture = drawn.to(images.device)
        images = self.transform(images, draws)
        if mixture is None:
            return images, labels[:, None], images.new_ones((len(labels), 1), dtype=torch.float32)
        return images, mixture.to(labels.device).gather(labels), mixture.device_coefficients

    def plain(self, *parts: Augment) -> Augmentation:
        """Return an augmentation with other parts, by default none, and the same normalization."""
        return Augmentation(parts, self.mean or None, self.std or None, self.dtype)

    def parted(self) -> tuple[Augmentation, Augmentation]:
        """Split into (parts before mixing, with normalization; mixing of normalized images)."""
        first = next((at for at, part in enumerate(self.parts) if isinstance(part, Mixing)), len(self.parts))
        mixing = Augmentation(self.parts[first:], None, None, self.dtype)
        return Augmentation(self.parts[:first], self.mean, self.std, self.dtype), mixing

    def at(self, size: tuple[int, int] | None) -> Augmentation:
        """Return this augmentation for images of another height and width from the first part on.

        A first part that resizes gives that size; before any other, the whole image is resized. None gives
        the augmentation itself.
        """
        if size is None:
            return self
        if size not in self._sized:
            first = self.parts[0] if self.parts else None
            if isinstance(first, Resizing):
                parts: tuple[Augment, ...] = (first.sized(*size), *self.parts[1:])
            else:
                parts = (Resize(size=size), *self.parts)
            self._sized[size] = Augmentation(parts, self.mean or None, self.std or None, self.dtype)
        return self._sized[size]

    def draw(self, keys: Keys, height: int, width: int, *, cropped: bool = False) -> HostDraws:
        """Draw every part's parameters for a batch of images of ``height`` x ``width`` pixels.

        If ``cropped``, the first part was applied already, and nothing is drawn for it.
        """
        drawn: list[HostArrays] = []
        mixture: Mixture | None = None
        if cropped:
            drawn.append({})
        for index in range(len(drawn), len(self.parts)):
            part = self.parts[index]
            draws = part.draw(replace(keys, scope=keys.scope + self._scopes[index]), height, width)
            drawn.append(draws)
            if self._mixes[index]:
                mixed = cast(Mixing, part).constituents(draws)
                mixture = mixed if mixture is None else mixed.after(mixture)
            if self._resizes[index]:
                height, width = cast(Resizing, part).size_of(height, width)
        return HostDraws(tuple(drawn), mixture)

    def transform(self, images: Tensor, draws: Sequence[Draws], *, cropped: bool = False) -> Tensor:
        """Augment and normalize images.

        Parameters
        ----------
        images
            uint8[n, C, H, W] in any memory layout; of the augmentation's dtype if it doesn't normalize.
        draws
            One entry per part, on the device of ``images``.
        cropped
            Whether the first part was applied to the images already.

        Returns
        -------
        [n, C, H, W] of the augmentation's dtype, channels_last in memory.
        """
        if len(draws) != len(self.parts):
            raise DataError(
                f"an augmentation of {len(self.parts)} parts needs that many draws; got {len(draws)}: "
                "give the augmentation what it drew itself (draw)"
            )
        for index, (part, drawn) in enumerate(zip(self.parts, draws, strict=True)):
            if index == self._normalize_at:
                images = self.normalize(images)
            if index >= cropped:
                images = part.apply(images, drawn)
        return self.normalize(images) if self._normalize_at == len(self.parts) else images

    def normalize(self, images: Tensor) -> Tensor:
        """Return (x / white - mean) / std of [n, C, H, W], in the augmentation's dtype, channels_last.

        White is 255, of uint16 65,535.
        """
        if not self.normalizes:
            return images
        pixels = to_pixels(images)
        if pixels.shape[3] != len(self.mean):
            raise DataError(
                f"images must have the {len(self.mean)} channels of mean and std; got {pixels.shape[3]}"
            )
        white = 255 if pixels.dtype == torch.uint8 else 65535
        scale, shift = self._tile(pixels.device, pixels.shape[1] * pixels.shape[2], white)
        # One row of constants for whole images: three per pixel couldn't be vectorized.
        levels = pixels.flatten(1).to(scale.dtype)
        normal = torch.addcmul(shift, levels, scale).to(self.dtype)
        return to_images(normal.view(pixels.shape))

    def _tile(self, device: torch.device, area: int, white: int) -> tuple[Tensor, Tensor]:
        key = (device, area, white)
        if key not in self._tiles:
            std = torch.tensor(self.std, dtype=torch.float64)
            mean = torch.tensor(self.mean, dtype=torch.float64)
            scale, shift = 1 / (white * std), -mean / std
            # In float32 for narrower dtypes, too, so that they are rounded once.
            work = torch.promote_types(self.dtype, torch.float32)
            self._tiles[key] = scale.to(device, work).repeat(area), shift.to(device, work).repeat(area)
        return self._tiles[key]
