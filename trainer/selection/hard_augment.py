"""hard_augment: of several views of each image, the pair that is hardest for the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from trainer.errors import RunError
from trainer.methods import Offer
from trainer.selection.helpers.base import BaseSelection, Scored
from trainer.selection.helpers.checks import check_choice
from trainer.selection.protocol import Setting


@dataclass(frozen=True)
class HardAugment(Scored):
    """Of m views of each image, scored at a low resolution, the hardest pair is trained on.

    Hard Augment, Kocyigit (2023) section 3.3.3, for self-supervised methods, which learn from pairs. Without
    gradient the network makes embeddings of all views at a low resolution, and the pair (i, j) with the
    largest loss is trained on at full resolution (eq. 3.10). Views are bilinear interpolations, antialiased,
    of those that are trained on.

    The loss of a pair is the part of the method's that depends on it alone: minus the cosine for simsiam,
    byol (by its online network), simclr and moco, the cross-entropy of the student's own outputs for dino.
    The cost, all of which is charged, is m forward passes at that resolution: for 6 views of 64 of 224 px
    8.2% of a step (table 3.8), `trainer.selection.helpers.overhead`.
    """

    pixels: int | float = 64 / 224
    """Resolution of scoring: up to 1 as a fraction of the training resolution, above 1 in pixels."""

    m: int = 6
    """Number of views of each image, at least 2; 2 leave nothing to choose."""

    choice: Literal["hard", "random", "first"] = "hard"
    """Pair to train on: the one with the largest loss, one at random, or the first two views. Random and
    first are for comparison, and score nothing."""

    score: Literal["loss", "cosine"] = "loss"
    """Score of a pair: the method's loss, or for every method minus the cosine of the embeddings."""

    scoring: Literal["train", "eval"] = "train"
    """Statistics of batch normalization in scoring: the scored batch's own, which enter no running ones, or
    the running ones, which are of views at full resolution."""

    extra_targets: bool = False
    """Let the other m - 2 views, at the resolution of scoring and without gradient, be targets of both that
    are trained on, too (table 3.9): each view's loss is the mean over its m - 1 targets."""

    ratio: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.m < 2:
            raise RunError(f"selection.m must be at least 2 views, of which a pair is chosen; got {self.m}")
        check_choice("choice", self.choice, ("hard", "random", "first"))
        check_choice("score", self.score, ("loss", "cosine"))
        check_choice("scoring", self.scoring, ("train", "eval"))

    def check(self, full: int) -> None:
        """Refuse a resolution of scoring above that of training, as a RunError."""
        if self.pixels > 1 and self.pixels > full:
            raise RunError(
                f"selection.pixels must be at most the {full} pixels of training; got {self.pixels:g}: "
                "lower it"
            )

    @property
    def chooses(self) -> bool:
        """Whether pairs are scored: not if there is one, or if the choice doesn't depend on it."""
        return self.choice == "hard" and self.m > 2

    @property
    def scores(self) -> bool:
        """Whether images pass forward at the resolution of scoring: to choose, or as extra targets."""
        return self.m > 2 and (self.chooses or self.extra_targets)

    @property
    def passes(self) -> int:
        """Views of each image that pass forward at the resolution of scoring."""
        return self.m * self.chooses + (self.m - 2) * self.extra_targets

    @property
    def needs(self) -> tuple[Offer, ...]:
        """Losses of pairs."""
        return ("pairs",)

    def build(self, setting: Setting) -> HardAugmentSelection:
        """Make the selection."""
        return HardAugmentSelection(self, setting)


class HardAugmentSelection(BaseSelection):
    """Chooses a pair of views of each image; all images are trained on."""

    part: HardAugment

    def __init__(self, part: HardAugment, setting: Setting) -> None:
        super().__init__(part, setting)
        pairs = torch.triu_indices(part.m, part.m, offset=1, device=setting.device)
        self._first, self._second = pairs.unbind()

    def pairs(self, losses: Tensor | None, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two views of each image to train on, int64[n] each, the lower one first.

        Parameters
        ----------
        losses
            float[n, m, m], symmetric; None where pairs aren't scored. Of equal ones the first pair in
            lexicographic order is taken.
        uniforms
            float32[n] in [0, 1).
        """
        count = len(self._first)
        if losses is not None:
            among = losses[:, self._first, self._second].argmax(dim=1)
        elif self.part.choice == "random":
            among = (uniforms * count).long().clamp(max=count - 1)
        else:
            among = torch.zeros_like(uniforms, dtype=torch.int64)
        return self._first.index_select(0, among), self._second.index_select(0, among)
