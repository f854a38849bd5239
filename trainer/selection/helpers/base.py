"""Base class of selections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pipeline import Batch
from trainer.methods import Losses
from trainer.selection.helpers.schedule import Scheduled
from trainer.selection.protocol import Candidates, Choice, Setting


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
