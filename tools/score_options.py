"""Options of ``trainer score``: what to score by, and by which networks."""

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
"""Those that sample_importance raises to gamma."""

NEEDS: Mapping[str, tuple[Offer, ...]] = {
    "el2n": ("error",),
    "forgetting": ("correct",),
    "p": ("p_true",),
    "gradient": ("scores",),
    "irreducible_loss": ("scores",),
}
"""What the scores are made of, beside the network."""


@dataclass(frozen=True)
class ScoreOptions:
    """What to score by."""

    out: Path = Path("scores.npz")
    """File to write."""

    metric: Literal[
        "el2n", "forgetting", "p", "gradient", "k_center", "facility_location", "irreducible_loss"
    ] = "el2n"
    """el2n: mean error norm over networks. forgetting: how often a sample was unlearned, mean over networks.
    p: 1 - the last probability of the true class in training, which sample_importance weights by. gradient:
    norm of each sample's gradient by all parameters. Means of these two are taken of their powers --gamma.
    k_center, facility_location: core-sets on the features of the first network. irreducible_loss: loss under
    a network trained on a holdout set, for --selection rho_loss."""

    of: Path | None = None
    """Set whose irreducible losses to write, while --data names the holdout set; None takes the training set
    that the recipe itself names."""

    networks: int | None = None
    """Networks to train; None takes 10 for el2n and forgetting, and 1 for the others. Core-sets and
    irreducible_loss take one."""

    after: float | None = None
    """Epochs that each network trains for; None takes 10 for p and gradient, and 20 for the others."""

    gamma: float = 0.5
    """Exponent of sample_importance, whose weights are averaged for p and gradient: the scores of several
    networks are mean(score^gamma)^(1/gamma)."""

    each: bool = False
    """Also write the scores of each network, to the name of --out with its seed, or with --runs its folder,
    as in w-s0.npz."""

    keep: float = 0.5
    """Fraction of the set that a core-set ranks; the rest has score 0."""

    runs: tuple[Path, ...] = ()
    """Finished run folders whose networks score, instead of training any; not for forgetting."""

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
        """Epochs that each network trains for."""
        return (10 if self.metric in WEIGHTS else 20) if self.after is None else self.after
