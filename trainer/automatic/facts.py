"""Properties of images, machine and command line that choices depend on (`trainer.automatic.choices`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.formats import Converted
from pipeline.modes import Mode
from pipeline.targets import TargetKind
from trainer.models import Normalization

SMALL = 64
"""Longest side, in pixels, of images that are trained on as they are."""


@dataclass(frozen=True, slots=True)
class Images:
    """Properties of a training set that choices depend on.

    Attributes
    ----------
    samples, outputs
        Images, and the classes, labels or values that each is to be given.
    kind
        Kind of the targets.
    shape
        Height and width if all images have the same, else None.
    shorter
        Median of the shorter sides, in pixels.
    pixels
        Pixels of all images together.
    mode
        Mode that they are stored in.
    """

    samples: int
    outputs: int
    kind: TargetKind
    shape: tuple[int, int] | None
    shorter: int
    pixels: int
    mode: Mode = "RGB"

    @classmethod
    def of(cls, dataset: Converted) -> Images:
        """Take them from a converted set."""
        card = dataset.card
        sides = np.minimum(dataset.heights, dataset.widths)
        return cls(
            samples=card.samples,
            outputs=len(card.classes) or card.columns or 1,
            kind=card.target,
            shape=None if card.height is None or card.width is None else (card.height, card.width),
            shorter=int(np.median(sides)),
            pixels=int((dataset.heights * dataset.widths).sum()),
            mode=card.mode,
        )

    @property
    def small(self) -> bool:
        """Whether they are trained on as they are."""
        return self.shape is not None and max(self.shape) <= SMALL


@dataclass(frozen=True, slots=True)
class Machine:
    """Properties of the machine that choices depend on.

    Attributes
    ----------
    memory
        Bytes of the device that trains: the GPU's, or those of the process on a CPU.
    gpu
        Its name; None for a CPU.
    precision
        The fastest in which the device trains.
    compiles
        Whether torch.compile can be expected to work and to pay.
    engines
        Engines that are installed.
    """

    memory: int
    gpu: str | None = None
    precision: Literal["bf16", "fp16", "fp32"] = "fp32"
    compiles: bool = False
    engines: tuple[str, ...] = ("resident",)

    @property
    def name(self) -> str:
        """Name of the device in reasons."""
        return "a CPU" if self.gpu is None else f"a GPU ({self.gpu})"


@dataclass(frozen=True, slots=True)
class Wish:
    """Requests of the command line that choices must fit.

    Attributes
    ----------
    network
        Name of a network that is named; None for one to be chosen.
    fine_tunes
        Whether it begins from weights.
    classifier
        Whether only its classifier is trained.
    pixels
        Side of the images that it is built for, or that its weights were trained on; None for any.
    hours
        Whether hours bound the run, so that it has no number of epochs.
    normalization
        Mean and standard deviation per channel of the images that its weights were trained on, if known.
    """

    network: str | None = None
    fine_tunes: bool = False
    classifier: bool = False
    pixels: int | None = None
    hours: bool = False
    normalization: Normalization | None = None
