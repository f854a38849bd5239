"""Base classes of selections: when they are on, the resolution of scoring, and defaults of methods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from pipeline import Batch
from pipeline.resolution import in_pixels
from trainer.errors import RunError
from trainer.methods import Losses, Offer
from trainer.selection.protocol import Candidates, Choice, Setting, Terms


@dataclass(frozen=True)
class Scheduled:
    """A selection that is on in one stretch of the run; it neither scores nor waits unless it says so."""

    start: float | None = 0.0
    """Progress in [0, 1] of the budget before which nothing is selected: the warm-up."""

    end: float = 1.0
    """Progress from which on nothing is selected: the cool-down; 1 selects to the last step."""

    interrupt: int = 0
    """Every so many pools of candidates one is trained as it comes, as 2 for every other; 0 for none."""

    def __post_init__(self) -> None:
        if self.start is None and type(self).__dataclass_fields__["start"].default is not None:
            raise RunError("selection.start must be a fraction of the budget; got None")
        start = 0.0 if self.start is None else self.start
        if not 0 <= start < self.end <= 1:
            raise RunError(
                "selection.start and end must rise within [0, 1], fractions of the budget; "
                f"got {start:g} and {self.end:g}"
            )
        if self.interrupt < 0 or self.interrupt == 1:
            raise RunError(
                f"selection.interrupt must be 0 or at least 2 pools; got {self.interrupt}: 0 never interrupts"
            )

    def bind(self, terms: Terms) -> Self:
        """Return the part with its start settled; see `SelectionConfig.bind`.

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
        """Return the start that is published for the method."""
        return 0.0

    def on(self, step: int, progress: float) -> bool:
        """Whether to select from pool ``step`` (from 0), at ``progress`` in [0, 1] of the budget."""
        assert self.start is not None
        if progress < self.start or (progress >= self.end and self.end < 1):
            return False
        return not self.interrupt or step % self.interrupt != self.interrupt - 1

    @property
    def scores(self) -> bool:
        """Whether candidates are shown to the network first."""
        return False

    @property
    def features(self) -> bool:
        """Whether the scoring pass is to give features."""
        return False

    @property
    def needs(self) -> tuple[Offer, ...]:
        """Statistics that the selection reads beside the loss."""
        return ()

    @property
    def exact(self) -> bool:
        """Whether a batch's worth is always chosen."""
        return True

    @property
    def syncs(self) -> bool:
        """Whether the device is waited for at every step or every so many."""
        return False


@dataclass(frozen=True)
class Scored(Scheduled):
    """A selection that looks at what the network says of the candidates."""

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
        """Side in pixels at which candidates are scored when training at ``training`` pixels.

        Never above the training resolution, which may itself be progressive.
        """
        return min(in_pixels(self.pixels, training), training)

    @property
    def scores(self) -> bool:
        """Candidates are shown to the network first."""
        return True


class BaseSelection:
    """A selection that follows its config's schedule, has no state, and chooses all candidates."""

    def __init__(self, part: Scheduled, setting: Setting) -> None:
        self.part = part
        self.setting = setting

    def on(self, step: int, progress: float) -> bool:
        """Follow the schedule."""
        return self.part.on(step, progress)

    def choose(self, candidates: Candidates) -> Choice:
        """Choose all candidates."""
        return Choice(torch.arange(len(candidates.ids), device=candidates.images.device))

    def observe(self, losses: Losses, batch: Batch, choice: Choice | None) -> None:
        """No-op."""

    def end_round(self) -> None:
        """No-op."""

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """No-op."""

    def count(self, candidates: Candidates) -> int:
        """Return the number to choose: a batch, or all candidates if they are fewer."""
        return min(self.setting.batch_size, len(candidates.ids))


def scored_losses(candidates: Candidates) -> Losses:
    """Return the losses of the scoring pass, which the driver makes for every selection that scores."""
    assert candidates.losses is not None
    return candidates.losses


def errors(losses: Losses) -> Tensor:
    """Return the norms of the errors, float32[n, k], for a selection that `needs` them."""
    assert losses.error is not None  # a method without them was refused
    return losses.error
