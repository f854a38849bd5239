"""Schedules of selections and the resolution of scoring: options common to many selections."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from pipeline.resolution import in_pixels
from trainer.errors import RunError
from trainer.methods import Offer
from trainer.selection.protocol import Terms


@dataclass(frozen=True)
class Scheduled:
    """Config of a selection that is on in one interval of the run; by default it neither scores nor syncs."""

    start: float | None = 0.0
    """Progress in [0, 1] of the budget before which nothing is selected: the warm-up."""

    end: float = 1.0
    """Progress from which on nothing is selected: the cool-down; 1 selects to the last step."""

    interrupt: int = 0
    """Skip selection for every k-th pool of candidates: 2 for every other one; 0 for none."""

    def __post_init__(self) -> None:
        if self.start is None and type(self).__dataclass_fields__["start"].default is not None:
            raise RunError("selection.start must be a share of the budget; got None")
        start = 0.0 if self.start is None else self.start
        if not 0 <= start < self.end <= 1:
            raise RunError(
                "selection.start and end must rise within [0, 1], shares of the budget; "
                f"got {start:g} and {self.end:g}"
            )
        if self.interrupt < 0 or self.interrupt == 1:
            raise RunError(
                f"selection.interrupt must be 0 or at least 2 pools; got {self.interrupt}: 0 never interrupts"
            )

    def bind(self, terms: Terms) -> Self:
        """Return the config with its start set; see `SelectionConfig.bind`.

        Raises
        ------
        RunError
            When nothing would be selected before the end.
        """
        if self.start is not None:
            return self
        start = self.begins(terms)
        if start >= self.end:
            raise RunError(
                f"selection.start must be below selection.end, {self.end:g} of the budget; got None, which "
                f"is {start:.3g} of {terms.budget:g} of {terms.epochs:g} epochs: give --selection.start 0, "
                "or train longer"
            )
        return replace(self, start=start)

    def begins(self, terms: Terms) -> float:
        """Return the method's published start."""
        return 0.0

    def on(self, step: int, progress: float) -> bool:
        """Return whether to select from pool ``step`` (from 0), at ``progress`` in [0, 1] of the budget."""
        assert self.start is not None
        if progress < self.start or (progress >= self.end and self.end < 1):
            return False
        return not self.interrupt or step % self.interrupt != self.interrupt - 1

    @property
    def scores(self) -> bool:
        """Whether the network scores candidates first."""
        return False

    @property
    def features(self) -> bool:
        """Whether the scoring pass returns features."""
        return False

    @property
    def needs(self) -> tuple[Offer, ...]:
        """Statistics that the selection uses besides the loss."""
        return ()

    @property
    def exact(self) -> bool:
        """Whether exactly a batch is always chosen."""
        return True

    @property
    def syncs(self) -> bool:
        """Whether it waits for the device at every step or every k-th."""
        return False


@dataclass(frozen=True)
class Scored(Scheduled):
    """Config of a selection that scores candidates with the network."""

    pixels: int | float = 1.0
    """Resolution of scoring: up to 1 as a fraction of the training resolution, above 1 in pixels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = self.pixels <= 1 or (math.isfinite(self.pixels) and self.pixels == int(self.pixels))
        if not self.pixels > 0 or not whole:
            raise RunError(
                "selection.pixels must be a fraction of the training resolution above 0 and at most 1, or a "
                f"whole number of pixels; got {self.pixels}"
            )

    def scoring_pixels(self, training: int) -> int:
        """Return the image size at which candidates are scored when training at ``training`` pixels.

        Never above the training resolution, which may itself be progressive.
        """
        return min(in_pixels(self.pixels, training), training)

    @property
    def scores(self) -> bool:
        """True: the network scores candidates first."""
        return True
