"""foms: samples hard ones more often, by their current losses at a low resolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainer.errors import RunError
from trainer.methods import Offer
from trainer.selection.helpers.base import BaseSelection, Scored, errors, scored_losses
from trainer.selection.helpers.checks import check_at_least, check_choice, check_fraction
from trainer.selection.helpers.draws import percentile_ranks, weighted_without_replacement
from trainer.selection.helpers.forgetting import ForgettingMemory
from trainer.selection.protocol import Candidates, Choice, Setting


@dataclass(frozen=True)
class Foms(Scored):
    """Drawn from a pool by a power of the loss's percentile rank, scored at a low resolution.

    Fast online minibatch selection, Kocyigit (2023) chapter 4. Of b' = ratio * b loaded candidates, b are
    drawn without replacement by eq. 4.4 ::

        p(x_i) = [fraction of the b' losses that are at most loss_i]^beta

    after a uniform warm-up and before a uniform cool-down. The thesis warms up for 10 thousand of about 300
    thousand steps, cools down for the last tenth, and scores at 96 of 224 pixels. Its candidates are drawn
    without replacement until all are seen: use ``--sampler scan``. Its figure 4.4 varies beta at one size of
    the pool: beta 0 to 4 at ``--selection.ratio 5``.

    Algorithm 3 there, pseudo-code, differs from the text in three places, in which this follows the text:

    - By eq. 4.4 the smallest loss has p = (1 / b')^beta and equal losses have equal p; the algorithm's
      weights are (0 to b' - 1) / b' by rank, so that the smallest loss is never drawn.
    - "Downsampled" images are made by bilinear interpolation with antialiasing, or read from a level of the
      data set; the algorithm's F.interpolate takes the nearest pixels.
    - Scoring is in evaluation mode and without gradients; the algorithm's network is in training mode, where
      low-resolution candidates would enter the running statistics of batch normalization.
      ``--scoring train`` normalizes by the candidates' own statistics and leaves the running ones alone.

    Section 4.5 proposes the gradient's norm as score, larger ratios, and a memory of how fast a
    sample is forgotten. The memory keeps for each training sample a moving average of the rise of its scored
    loss since it was last scored (0 where the loss fell) ::

        m_i <- (1 - pace) m_i + pace * max(0, loss_i - last loss_i)

    and ranks by score_i + forgetting * m_i. Augmentation's noise is part of the rise.
    """

    start: float | None = 0.03
    """Progress in [0, 1] of the budget before which nothing is selected: the warm-up."""

    end: float = 0.9
    """Progress from which on nothing is selected: the cool-down."""

    pixels: int | float = 96 / 224
    """Resolution of scoring: up to 1 as a fraction of the training resolution, above 1 in pixels."""

    beta: float = 1.0
    """Exponent of the rank: 0 draws uniformly, large values draw the hardest."""

    ratio: float = 2.0
    """Candidates loaded per trained sample; at least 1 + beta, as in the thesis (section 4.4.4)."""

    score: Literal["loss", "gradient_norm"] = "loss"
    """Score to rank by: the loss, or ||softmax - y||, the norm of its gradient at the network's outputs."""

    forgetting: float = 0.0
    """Weight of the memory of how fast a sample is forgotten, added to the score; 0 keeps none."""

    pace: float = 0.5
    """Weight of the newest rise in the memory's moving average."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("beta", self.beta, 0)
        check_at_least("ratio", self.ratio, 1)
        check_choice("score", self.score, ("loss", "gradient_norm"))
        check_at_least("forgetting", self.forgetting, 0)
        check_fraction("pace", self.pace)
        if self.ratio < 1 + self.beta:
            raise RunError(
                f"selection.ratio must be at least 1 + beta = {1 + self.beta:g} (Kocyigit 2023, section "
                f"4.4.4); got {self.ratio:g}: load more candidates or lower beta"
            )

    @property
    def needs(self) -> tuple[Offer, ...]:
        """The norm of the error, if that is the score."""
        return ("error",) if self.score == "gradient_norm" else ()

    def build(self, setting: Setting) -> FomsSelection:
        """Make the selection."""
        return FomsSelection(self, setting)


class FomsSelection(BaseSelection):
    """Draws from each pool by eq. 4.4."""

    part: Foms

    def __init__(self, part: Foms, setting: Setting) -> None:
        super().__init__(part, setting)
        self._memory = (
            ForgettingMemory(setting.samples, part.pace, setting.device) if part.forgetting > 0 else None
        )

    def choose(self, candidates: Candidates) -> Choice:
        """Draw without replacement by percentile rank."""
        losses = scored_losses(candidates)
        score = (losses.loss if self.part.score == "loss" else errors(losses))[:, 0]
        if self._memory is not None:
            rises = self._memory.update(candidates.ids, losses.loss[:, 0])
            score = score + self.part.forgetting * rises
        chances = percentile_ranks(score) ** self.part.beta
        count = self.count(candidates)
        return Choice(weighted_without_replacement(chances, candidates.uniforms[:, 0], count))

    def state_dict(self) -> dict[str, Any]:
        """Return the memory, if there is one."""
        return {} if self._memory is None else self._memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the memory."""
        if self._memory is not None:
            self._memory.load_state_dict(state)
