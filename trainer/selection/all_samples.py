"""all: no selection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from trainer.methods import Offer
from trainer.selection.helpers.base import BaseSelection, Scheduled
from trainer.selection.protocol import Setting, Terms


@dataclass(frozen=True)
class AllSamples:
    """Every loaded sample is trained on: no selection."""

    ratio: ClassVar[float] = 1.0
    scores: ClassVar[bool] = False
    features: ClassVar[bool] = False
    needs: ClassVar[tuple[Offer, ...]] = ()
    exact: ClassVar[bool] = True
    syncs: ClassVar[bool] = False

    def bind(self, terms: Terms) -> AllSamples:
        """Return the part itself."""
        return self

    def build(self, setting: Setting) -> AllSamplesSelection:
        """Make the selection."""
        return AllSamplesSelection(Scheduled(), setting)


class AllSamplesSelection(BaseSelection):
    """Return False."""

    def on(self, step: int, progress: float) -> bool:
        """No-op: every batch is trained on as loaded."""
        return False
