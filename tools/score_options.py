"""Options of ``trainer score``: the metric, and the networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.errors import RunError
from trainer.methods import Offer

AVERAGED = ("el2n", "forgetting", "p", "gradient")
"""Metrics that are a mean over networks."""

WEIGHTS = ("p", "gradient")
"""Metrics that sample_importance raises to the power gamma."""

NEEDS: Mapping[str, tuple[Offer, ...]] = {
    "el2n": ("error",),
    "forgetting": ("correct",),
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
        "el2n", "forgetting", "p", "gradient", "k_center", "facility_location", "irreducible_loss"
    ] = "el2n"
    """el2n: mean error norm over networks. forgetting: mean number of forgetting events over networks.
    p: 1 - the last probability of the true class in training, for sample_importance. gradient: norm of each
    sample's gradient with respect to all parameters. The last two are averaged as powers --gamma.
    k_center, facility_location: core-sets on the features of the first network. irreducible_loss: loss under
    a network trained on a holdout set, for --selection rho_loss."""

    of: Path | None = None
    """Set whose irreducible losses to write, while --data names the holdout set; by default the recipe's
    training set."""

    networks: int | None = None
    """Number of networks to train; by default 10 for el2n and forgetting, and 1 for the others. Core-sets and
    irreducible_loss use one."""

    after: float | None = None
    """Epochs of training per network; by default 10 for p and gradient, and 20 for the others."""

    gamma: float = 0.5
    """Exponent of sample_importance, whose weights are averaged for p and gradient: the scores of several
    networks are mean(score^gamma)^(1/gamma)."""

    each: bool = False
    """Also write the scores of each network, to --out with its seed (w-s0.npz), or with --runs its folder,
    appended to the name."""

    keep: float = 0.5
    """Fraction of the set that a core-set ranks; the rest has score 0."""

    runs: tuple[Path, ...] = ()
    """Finished run folders whose networks to use, instead of training any; not for forgetting."""

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
        if self.runs and self.metric == "forgetting":
            raise RunError("forgetting is counted while a network trains; leave --runs out")
        if self.runs and self.networks is not None:
            raise RunError("--runs names the networks; leave --networks out")
        if self.of is not None and self.metric != "irreducible_loss":
            raise RunError(
                f"--of goes with irreducible_loss; {self.metric} is of the training set: leave it out"
            )

    @property
    def epochs(self) -> float:
        """Epochs of training per network."""
        return (10 if self.metric in WEIGHTS else 20) if self.after is None else self.after
