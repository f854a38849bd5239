"""Options of ``trainer score``: the metric, and the networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.errors import RunError
from trainer.methods import Offer
from trainer.scores.table import TRAJECTORIES

AVERAGED = ("el2n", "p", "gradient", *TRAJECTORIES)
"""Metrics that are a mean over networks."""

WEIGHTS = ("p", "gradient")
"""Metrics that sample_importance raises to the power gamma."""

CORESETS = ("k_center", "facility_location")
"""Metrics that rank by the features of one network."""

NEEDS: Mapping[str, tuple[Offer, ...]] = {
    "el2n": ("error",),
    "forgetting": ("correct",),
    "aum": ("p_true",),
    "dual": ("p_true",),
    "tdds": ("p_true",),
    "p": ("p_true",),
    "gradient": ("scores",),
    "irreducible_loss": ("scores",),
}
"""Options that determine the scores, besides the network."""


@dataclass(frozen=True)
class ScoreOptions:
    """Options of the scoring."""

    out: Path = Path("scores.npz")
    """File to write."""

    metric: Literal[
        "el2n",
        "forgetting",
        "aum",
        "dual",
        "tdds",
        "p",
        "gradient",
        "k_center",
        "facility_location",
        "irreducible_loss",
    ] = "el2n"
    """el2n: mean error norm over networks. forgetting: mean number of forgetting events over networks.
    aum: area under the margin, of a difficulty's sign, for subset's choice ccs. dual: difficulty times
    uncertainty, for its choice dual. tdds: temporal dual-depth. p: 1 - the last probability of the true class
    in training, for sample_importance. gradient: norm of each sample's gradient with respect to all
    parameters. The last two are averaged as powers --gamma. k_center, facility_location: core-sets on the
    features of the first network. irreducible_loss: loss under a network trained on a holdout set, for
    --selection rho_loss."""

    of: Path | None = None
    """Set whose irreducible losses to write, while --data names the holdout set; by default the recipe's
    training set."""

    networks: int | None = None
    """Number of networks to train; by default 10 for el2n and forgetting, and 1 for the others. Core-sets and
    irreducible_loss use one."""

    after: float | None = None
    """Epochs of training per network; by default 10 for p and gradient, 30 for dual and tdds, and 20 for the
    others."""

    window: int = 10
    """J, epochs in a window of dual and tdds."""

    gamma: float = 0.5
    """Exponent of sample_importance, whose weights are averaged for p and gradient: the scores of several
    networks are mean(score^gamma)^(1/gamma)."""

    each: bool = False
    """Also write the scores of each network, to --out with its seed (w-s0.npz), or with --runs its folder,
    appended to the name."""

    keep: float = 0.5
    """Fraction of the set that a core-set ranks; the rest has score 0."""

    runs: tuple[Path, ...] = ()
    """Finished run folders whose networks to use, instead of training any; not for forgetting, aum, dual and
    tdds, which need the whole training."""

    def __post_init__(self) -> None:
        if self.networks is not None and self.networks < 1:
            raise RunError(f"networks must be at least 1; got {self.networks}")
        if self.after is not None and not self.after > 0:
            raise RunError(f"after must be above 0 epochs; got {self.after:g}")
        if not 0 < self.gamma < float("inf"):
            raise RunError(f"gamma must be above 0 and finite to average weights; got {self.gamma:g}")
        if self.each and self.metric not in AVERAGED:
            raise RunError(
                f"--each goes with {', '.join(AVERAGED)}; {self.metric} is of one network: leave it out"
            )
        if not 0 < self.keep <= 1:
            raise RunError(f"keep must be above 0 and at most 1; got {self.keep:g}")
        if self.runs and self.metric in TRAJECTORIES:
            raise RunError(f"{self.metric} is measured while a network trains; leave --runs out")
        self._check_window()
        if self.runs and self.networks is not None:
            raise RunError("--runs names the networks; leave --networks out")
        if self.of is not None and self.metric != "irreducible_loss":
            raise RunError(
                f"--of goes with irreducible_loss; {self.metric} is of the training set: leave it out"
            )

    def _check_window(self) -> None:
        least = TRAJECTORIES[self.metric].least_window if self.metric in TRAJECTORIES else 0
        if not least:
            if self.window != type(self).window:
                raise RunError(f"--window goes with dual, tdds; {self.metric} has no windows: leave it out")
            return
        if self.window < least:
            raise RunError(f"window must be at least {least} epochs for {self.metric}; got {self.window}")
        if round(self.epochs) < self.window:
            raise RunError(
                f"{self.metric} is of windows of {self.window} epochs; got {self.epochs:g} of training: "
                "raise --after, or lower --window"
            )

    @property
    def epochs(self) -> float:
        """Epochs of training per network."""
        if self.after is not None:
            return self.after
        if self.metric in TRAJECTORIES:
            return TRAJECTORIES[self.metric].epochs
        return 10 if self.metric in WEIGHTS else 20

    @property
    def count(self) -> int:
        """Number of networks to train, or of finished ones."""
        if self.runs:
            return 1 if self.metric in CORESETS else len(self.runs)
        if self.metric not in AVERAGED:
            return 1
        if self.networks is not None:
            return self.networks
        if self.metric in TRAJECTORIES:
            return TRAJECTORIES[self.metric].networks
        return 1 if self.metric in WEIGHTS else 10
