"""ordered_sgd: trains on the highest losses of each batch only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from pipeline import Batch
from trainer.errors import RunError
from trainer.methods import Losses, Offer
from trainer.selection.helpers.base import BaseSelection, Scheduled
from trainer.selection.helpers.draws import highest
from trainer.selection.protocol import Setting


@dataclass(frozen=True)
class OrderedSgd(Scheduled):
    """The mean of each batch's q highest losses is minimized, q halving as training accuracy grows.

    Ordered SGD, Kawaguchi and Lu (2020), as Arazo et al. (2021, section 3) use it. Of a batch of s samples q
    = s count at first, then s/2, s/4, s/8 and s/16 once the accuracy over a round of training has reached 80,
    90, 95 and 99.5%; q never grows again. Nothing more is loaded than is trained: all samples go forward, and
    their multipliers are s/q for the q highest losses and 0 for the others. There the budget shortens the
    training: give ``--sampler scan``, whose rounds, over which accuracy is taken, are epochs. Under mixing,
    an image's loss is that of its constituents by their coefficients, and so is whether it is right.

    The authors' released CIFAR code does the same: the mean of the q largest losses; the accuracy over an
    epoch of training, each batch before its step; straight to the q of the highest threshold reached, never
    back. (Its code for small sets takes the accuracy of the whole set after an epoch.)
    """

    thresholds: tuple[float, ...] = (0.8, 0.9, 0.95, 0.995)
    """Training accuracies over a round, rising; q halves at each."""

    ratio: ClassVar[float] = 1.0

    needs: ClassVar[tuple[Offer, ...]] = ("correct",)

    def __post_init__(self) -> None:
        super().__post_init__()
        inside = all(0 < bar <= 1 for bar in self.thresholds)
        if not inside or any(a >= b for a, b in pairwise(self.thresholds)):
            raise RunError(f"selection.thresholds must rise within (0, 1], accuracies; got {self.thresholds}")

    def build(self, setting: Setting) -> OrderedSgdSelection:
        """Make the selection."""
        return OrderedSgdSelection(self, setting)


class OrderedSgdSelection(BaseSelection):
    """Counts what was right on the device, and halves q at a round's end."""

    part: OrderedSgd

    def __init__(self, part: OrderedSgd, setting: Setting) -> None:
        super().__init__(part, setting)
        self._halvings = 0
        self._hits = torch.zeros((), dtype=torch.float64, device=setting.device)
        self._seen = 0

    def weigh(self, losses: Losses, batch: Batch) -> Tensor:
        """Weight the q highest losses by s/q, the others by 0."""
        with torch.no_grad():
            assert losses.correct is not None  # a method without it was refused
            self._hits += batch.per_image(losses.correct).sum(dtype=torch.float64)
            self._seen += len(batch)
            per_image = batch.per_image(losses.loss)
            counted = max(1, len(batch) >> self._halvings)
            weights = torch.zeros_like(per_image)
            return weights.index_fill_(0, highest(per_image, counted), len(batch) / counted)

    def end_round(self) -> None:
        """Read the round's accuracy, over all ranks, and halve q for every threshold it reaches."""
        counts = torch.stack((self._hits, torch.full_like(self._hits, self._seen)))
        hits, seen = self.setting.world.sum(counts).tolist()
        if seen:
            reached = sum(hits >= bar * seen for bar in self.part.thresholds)
            self._halvings = max(self._halvings, reached)
        self._hits.zero_()
        self._seen = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the halvings so far and the round's counts."""
        return {"halvings": self._halvings, "hits": self._hits.clone(), "seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them in."""
        self._halvings, self._seen = state["halvings"], state["seen"]
        self._hits.copy_(state["hits"])
