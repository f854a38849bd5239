"""rho_loss: what could still be learned of a sample, its loss beyond what a holdout model leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.transfer import place
from samplers import SamplingError, Scores
from trainer.errors import RunError
from trainer.selection.base import BaseSelection, scored_losses
from trainer.selection.checks import check_at_least
from trainer.selection.draws import highest
from trainer.selection.protocol import Candidates, Choice, Setting
from trainer.selection.schedule import Scored


@dataclass(frozen=True)
class RhoLoss(Scored):
    """The highest reducible losses of a pool: loss minus that of a model trained on held-out data.

    RHO-LOSS, Mindermann et al. (2022). Of the loaded candidates the top tenth by ::

        loss_i - irreducible loss_i

    is trained on. Irreducible losses are those of the training samples under a model that was trained on
    other data, in a scores file (``samplers.Scores(losses, "irreducible_loss", {"trained": n}).save(path)``).
    Noisy samples have high losses under both models and are passed over, which loss alone would pick.

    Training that model is charged to the run: the samples it took stand in the file's metadata as
    ``holdout_samples`` or ``trained``, unless the option gives them.
    """

    ratio: float = 10.0
    """Candidates loaded for each trained sample: 10 trains on a tenth of them."""

    irreducible: Path | None = None
    """The scores file of irreducible losses, one for each training sample; required."""

    holdout_samples: int | None = None
    """Samples that the holdout model was trained on, times seen; None takes them from the file."""

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
            When no file is given, when it doesn't fit the training set, or when nobody says what the holdout
            model cost.
        """
        if self.irreducible is None:
            raise RunError(
                "selection.irreducible must be the path of a scores file with each training sample's loss "
                "under a holdout model; got None: make one with samplers.Scores"
            )
        try:
            kept = Scores.load(self.irreducible, setting.samples)
        except SamplingError as error:
            raise RunError(f"selection.irreducible: {error}") from error
        return RhoLossSelection(self, setting, kept)


class RhoLossSelection(BaseSelection):
    """Holds the irreducible losses on the device.

    Attributes
    ----------
    charged
        Samples, times seen, that the holdout model was trained on; part of this run's cost.
    """

    def __init__(self, part: RhoLoss, setting: Setting, kept: Scores) -> None:
        super().__init__(part, setting)
        self._irreducible = place(kept.scores, setting.device)
        told = kept.metadata.get("holdout_samples", kept.metadata.get("trained"))
        charged = part.holdout_samples if part.holdout_samples is not None else told
        if not isinstance(charged, int) or charged < 0:
            raise RunError(
                "selection.holdout_samples must be given where the scores file doesn't say on how many "
                f"samples its model was trained; {part.irreducible} says {charged!r}"
            )
        self.charged = charged

    def choose(self, candidates: Candidates) -> Choice:
        """Choose the highest reducible losses."""
        rows = place(candidates.ids, self._irreducible.device)
        reducible = scored_losses(candidates).per_owner[:, 0] - self._irreducible[rows]
        return Choice(highest(reducible, self.count(candidates)))
