"""greedy: the highest losses of a larger batch."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.selection.helpers.base import BaseSelection, Scored, scored_losses
from trainer.selection.helpers.checks import check_at_least
from trainer.selection.helpers.draws import highest
from trainer.selection.protocol import Candidates, Choice, Setting


@dataclass(frozen=True)
class Greedy(Scored):
    """The b highest losses of the loaded candidates.

    Kocyigit (2023, table 4.4) compares foms with it, and finds it harmful: 74.7%, against 75.5% when drawing
    by eq. 4.4. Candidates are scored at foms's resolution and, as in that row of the table, there is no
    cool-down.
    """

    start: float | None = 0.03
    """Progress before which nothing is selected: foms's warm-up."""

    pixels: int | float = 96 / 224
    """Resolution of scoring: up to 1 as a fraction of the training resolution, above 1 in pixels."""

    ratio: float = 2.0
    """Candidates loaded per trained sample."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("ratio", self.ratio, 1)

    def build(self, setting: Setting) -> GreedySelection:
        """Make the selection."""
        return GreedySelection(self, setting)


class GreedySelection(BaseSelection):
    """Chooses the highest losses of each pool."""

    def choose(self, candidates: Candidates) -> Choice:
        """Choose the highest losses."""
        losses = scored_losses(candidates).loss[:, 0]
        return Choice(highest(losses, self.count(candidates)))
