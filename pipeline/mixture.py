"""Mixture: the source samples of each mixed image, and their coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import DataError
from pipeline.ops.memory import place

CreditedTo = Literal["constituents", "position"]
"""Which samples the feedback of a mixed image is of."""


def check_credited_to(value: str) -> None:
    """Check an option of that type.

    Raises
    ------
    DataError
        If it is neither.
    """
    if value not in get_args(CreditedTo):
        raise DataError(f"feedback must be one of {', '.join(get_args(CreditedTo))}; got {value!r}")


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """The k constituents of each of n mixed images (mixup 2, RICAP 4), and their coefficients.

    The loss of image i is ``sum_j coefficients[i, j] * loss(output[i], label[partners[i, j]])``, and sample
    ``partners[i, j]`` is credited only with the loss against its own label. The host's arrays serve feedback,
    which so needs no copy from the device; the device's serve the losses.

    Attributes
    ----------
    partners
        int64[n, k] on the host, indices into the batch before mixing.
    coefficients
        float32[n, k] on the host; rows sum to 1.
    device_partners, device_coefficients
        The same on the batch's device.
    credited
        float32[n, k] on the host, coefficients of the feedback; None for those of the loss.
    """

    partners: NDArray[np.int64]
    coefficients: NDArray[np.float32]
    device_partners: Tensor
    device_coefficients: Tensor
    credited: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls,
        partners: NDArray[np.int64],
        coefficients: NDArray[np.float32],
        device: torch.device | None = None,
        credited: NDArray[np.float32] | None = None,
    ) -> Mixture:
        """Return the mixture of two arrays [n, k], its tensors on ``device``, by default the CPU.

        Does not wait for the copies.
        """
        device = device or torch.device("cpu")
        # Copies: on the CPU a tensor would share an array's memory.
        on_device = place(partners.copy(), device), place(coefficients.copy(), device)
        return cls(partners, coefficients, *on_device, credited)

    @classmethod
    def of_pairs(cls, partner: NDArray[Any], coefficient: NDArray[Any]) -> Mixture:
        """Return the mixture of each image with one other.

        Parameters
        ----------
        partner
            int64[n], index of the other image.
        coefficient
            float32[n], of the image itself; the other one has the rest.
        """
        partners = np.stack([np.arange(len(partner)), partner], axis=1)
        coefficients = np.stack([coefficient, 1 - coefficient], axis=1)
        return cls.of(partners.astype(np.int64, copy=False), coefficients.astype(np.float32, copy=False))

    def by_position(self) -> Mixture:
        """Return the same mixture, image i of which is all feedback for the i-th sample, shown or not.

        The code released by Arazo et al. (2021) does so, with the error of the i-th image against the label
        of the i-th sample. Each image gets one more constituent, that sample, with coefficient 0.
        """
        own = np.arange(len(self), dtype=np.int64)[:, None]
        partners = np.concatenate([self.partners, own], axis=1)
        coefficients = np.concatenate([self.coefficients, np.zeros_like(self.coefficients[:, :1])], axis=1)
        credited = np.zeros_like(coefficients)
        credited[:, -1] = 1
        return Mixture.of(partners, coefficients, credited=credited)

    def __len__(self) -> int:
        return len(self.partners)

    def __repr__(self) -> str:
        return f"Mixture({len(self)} images of {self.partners.shape[1]} constituents)"

    def __getitem__(self, rows: slice) -> Mixture:
        """Return what some of the images are made of, their samples still where they stand in the batch."""
        tensors = self.device_partners[rows], self.device_coefficients[rows]
        credited = None if self.credited is None else self.credited[rows]
        return Mixture(self.partners[rows], self.coefficients[rows], *tensors, credited)

    def to(self, device: torch.device) -> Mixture:
        """Return the same mixture with its tensors on ``device``, without waiting for the copy."""
        if self.device_partners.device == device:
            return self
        return Mixture.of(self.partners, self.coefficients, device, self.credited)

    def after(self, first: Mixture) -> Mixture:
        """Return the mixture of images that were mixed by ``first`` before: constituents of constituents."""
        shape = len(self), self.partners.shape[1] * first.partners.shape[1]
        partners = first.partners[self.partners]
        coefficients = self.coefficients[:, :, None] * first.coefficients[self.partners]
        made = Mixture.of(partners.reshape(shape), coefficients.reshape(shape))
        return made if self.credited is None and first.credited is None else made.by_position()

    def gather(self, values: Tensor) -> Tensor:
        """Return the values of each image's constituents, [n, k, ...], of values per sample, [n, ...]."""
        shape = (*self.device_partners.shape, *values.shape[1:])
        return values.index_select(0, self.device_partners.flatten()).view(shape)

    def per_image(self, values: Tensor) -> Tensor:
        """Return each image's sum of float[n, k] over its constituents, by coefficients: float[n]."""
        return (values * self.device_coefficients).sum(dim=1)

    def per_sample(self, values: Tensor) -> Tensor:
        """Return each sample's mean of float[n, k] over the images that show it, by coefficients: float[n].

        A sample in no image gets 0.
        """
        partners, coefficients = self.device_partners.flatten(), self.device_coefficients
        weight = torch.zeros_like(coefficients[:, 0]).index_add_(0, partners, coefficients.flatten())
        weighted = (values * coefficients).flatten()
        total = torch.zeros_like(weight, dtype=weighted.dtype).index_add_(0, partners, weighted)
        return total / weight.clamp(min=torch.finfo(weight.dtype).tiny)
