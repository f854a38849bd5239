"""rho_loss: chooses samples of high reducible loss, that is loss minus a holdout model's loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pipeline.ops.memory import place
from samplers import SamplingError, Scores
from trainer.errors import RunError
from trainer.selection.helpers.base import BaseSelection, Scored, scored_losses
from trainer.selection.helpers.checks import check_at_least
from trainer.selection.helpers.draws import highest
from trainer.selection.protocol import Candidates, Choice, Setting


@dataclass(frozen=True)
class RhoLoss(Scored):
    """The highest reducible losses of a pool: loss minus that of a model trained on held-out data.

    RHO-LOSS, Mindermann et al. (2022). Of the loaded candidates the top tenth by ::

        loss_i - irreducible loss_i

    is trained on. Irreducible losses are those of the training samples under a model that was trained on
    other data, in a scores file that ``trainer score --metric irreducible_loss`` writes; so does
    ``samplers.Scores(losses, "irreducible_loss", {"trained": n}).save(path)``. Noisy samples have high losses
    under both models and are passed over, which loss alone would pick.

    That model is charged to the run by the file's metadata: ``compute``, the cost of training it and of
    scoring with it, in samples trained, or else ``trained``, the samples it was trained on; the option
    overrides both.
    """

    ratio: float = 10.0
    """Candidates loaded per trained sample: 10 trains on a tenth of them."""

    irreducible: Path | None = None
    """The scores file of irreducible losses, one for each training sample, made by `trainer score --metric
    irreducible_loss`; required."""

    holdout_samples: int | None = None
    """Cost of the holdout model, in trained samples of this run's network; None takes it from the file."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("ratio", self.ratio, 1)
        if self.holdout_samples is not None:
            check_at_least("holdout_samples", self.holdout_samples, 0)

    def build(self, setting: Setting) -> RhoLossSelection:
        """Make the selection.

        Raises
        ------
        RunError
            When no file is given, when it holds other scores or doesn't fit the training set, or when the
            cost of the holdout model isn't known.
        """
        if self.irreducible is None:
            raise RunError(
                "selection.irreducible must be the path of a scores file with each training sample's loss "
                "under a holdout model; got None: make one with trainer score --metric irreducible_loss"
            )
        try:
            kept = Scores.load(self.irreducible, setting.samples, setting.digest)
        except SamplingError as error:
            raise RunError(f"selection.irreducible: {error}") from error
        if kept.method != "irreducible_loss":
            raise RunError(
                f"selection.irreducible must hold irreducible losses; {self.irreducible} holds "
                f"{kept.method}: make it with trainer score --metric irreducible_loss"
            )
        return RhoLossSelection(self, setting, kept)


class RhoLossSelection(BaseSelection):
    """Holds the irreducible losses on the device.

    Attributes
    ----------
    charged
        Cost of the holdout model, in samples trained, rounded up; part of this run's cost.
    """

    def __init__(self, part: RhoLoss, setting: Setting, kept: Scores) -> None:
        super().__init__(part, setting)
        self._irreducible = place(kept.scores, setting.device)
        told = kept.metadata.get("compute", kept.metadata.get("trained"))
        cost = part.holdout_samples if part.holdout_samples is not None else told
        if not isinstance(cost, int | float) or not 0 <= cost < math.inf:
            raise RunError(
                "selection.holdout_samples must be given where the scores file doesn't say what its model "
                f"cost; {part.irreducible} says {cost!r}"
            )
        self.charged = math.ceil(cost)

    def choose(self, candidates: Candidates) -> Choice:
        """Choose the highest reducible losses."""
        rows = place(candidates.ids, self._irreducible.device)
        reducible = scored_losses(candidates).loss[:, 0] - self._irreducible[rows]
        return Choice(highest(reducible, self.count(candidates)))
