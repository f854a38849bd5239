"""selective_backprop_exact: a fixed fraction of each pool, drawn by a power of the loss's percentile."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.selection.helpers.base import BaseSelection, Scored, scored_losses
from trainer.selection.helpers.checks import check_fraction
from trainer.selection.helpers.draws import midpoint_percentiles, weighted_without_replacement
from trainer.selection.protocol import Candidates, Choice, Setting


@dataclass(frozen=True)
class SelectiveBackpropExact(Scored):
    """Exactly a fraction `keep` of each pool, without replacement by a power of the loss's percentile.

    Selective backpropagation with a fixed count in place of eq. 4's chance, as large trainers ship it: of n
    candidates keep * n are drawn with ::

        p_i proportional to [(r_i + 1/2) / n]^(1 / keep - 1),    r_i = losses of the pool below loss_i

    in the middle of training, and from every other pool there. Percentiles are among the pool, not among past
    losses, and the device is not waited for.
    """

    start: float | None = 0.5
    """Progress in [0, 1] of the budget before which nothing is selected."""

    end: float = 0.9
    """Progress from which on nothing is selected."""

    interrupt: int = 2
    """Skip selection for every k-th pool of candidates: 2 for every other one; 0 for none."""

    keep: float = 0.5
    """Fraction of the candidates that is trained on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("keep", self.keep)

    @property
    def ratio(self) -> float:
        """Candidates loaded per trained sample."""
        return 1 / self.keep

    def build(self, setting: Setting) -> SelectiveBackpropExactSelection:
        """Make the selection."""
        return SelectiveBackpropExactSelection(self, setting)


class SelectiveBackpropExactSelection(BaseSelection):
    """Draws from each pool by its own percentiles."""

    part: SelectiveBackpropExact

    def choose(self, candidates: Candidates) -> Choice:
        """Draw without replacement."""
        losses = scored_losses(candidates).loss[:, 0]
        chances = midpoint_percentiles(losses) ** (1 / self.part.keep - 1)
        count = self.count(candidates)
        return Choice(weighted_without_replacement(chances, candidates.uniforms[:, 0], count))
