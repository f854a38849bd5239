"""Samplers: every published way to choose which samples to load, and in which order, behind one protocol.

``SAMPLERS`` maps a name to its config, a frozen dataclass of options; ``config.build(plan)`` returns a
sampler with the four methods of ``Sampler``.
"""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from samplers.balanced import Balanced
from samplers.c_sgd import CSGD
from samplers.dihcl import DIHCL
from samplers.draws.threads import use_threads
from samplers.dynamic_pruning import UCB, EpsilonGreedy
from samplers.errors import SamplingError, SamplingWarning
from samplers.es import ES
from samplers.families.rounds import Statistic
from samplers.infobatch import InfoBatch
from samplers.kakurenbo import Kakurenbo
from samplers.mcl import MCL
from samplers.p_sgd import PSGD
from samplers.plan import Plan
from samplers.prediction_variance import PredictionVariance
from samplers.prioritized import LossProportional, LossRank
from samplers.protocol import Feedback, Order, Sampler, State
from samplers.rcap import RCAP
from samplers.rs2 import RS2
from samplers.sample_importance import ClassImportance, SampleImportance
from samplers.scan import Scan
from samplers.scores import Scores
from samplers.seta import SeTa
from samplers.subset import Subset
from samplers.uniform import Uniform


class SamplerConfig(Protocol):
    """Config of a sampler: its options."""

    @property
    def needs(self) -> tuple[Statistic, ...]:
        """Feedback columns that this sampler uses, which the training loop has to measure."""

    def build(self, plan: Plan) -> Sampler:
        """Return the sampler for one run."""


@runtime_checkable
class ScoringConfig(SamplerConfig, Protocol):
    """Config of a sampler whose orders may request scoring passes (``Order.score_ids``), at a cost."""

    @property
    def asks(self) -> Literal["forward", "gradient"] | None:
        """Cost per scored sample: a forward pass, or a backward pass as well; None without scores."""


@runtime_checkable
class LabelReading(SamplerConfig, Protocol):
    """Config of a sampler that may read the plan's labels, which a run without labels doesn't have."""

    @property
    def reads_labels(self) -> bool:
        """Whether its orders depend on labels."""


SAMPLERS: dict[str, type[SamplerConfig]] = {
    "scan": Scan,
    "uniform": Uniform,
    "rs2": RS2,
    "p_sgd": PSGD,
    "c_sgd": CSGD,
    "prediction_variance": PredictionVariance,
    "loss_proportional": LossProportional,
    "loss_rank": LossRank,
    "sample_importance": SampleImportance,
    "class_importance": ClassImportance,
    "balanced": Balanced,
    "subset": Subset,
    "infobatch": InfoBatch,
    "seta": SeTa,
    "kakurenbo": Kakurenbo,
    "ucb": UCB,
    "epsilon_greedy": EpsilonGreedy,
    "dihcl": DIHCL,
    "es": ES,
    "rcap": RCAP,
    "mcl": MCL,
}

__all__ = [
    "CSGD",
    "DIHCL",
    "ES",
    "MCL",
    "PSGD",
    "RCAP",
    "RS2",
    "SAMPLERS",
    "UCB",
    "Balanced",
    "ClassImportance",
    "EpsilonGreedy",
    "Feedback",
    "InfoBatch",
    "Kakurenbo",
    "LabelReading",
    "LossProportional",
    "LossRank",
    "Order",
    "Plan",
    "PredictionVariance",
    "SampleImportance",
    "Sampler",
    "SamplerConfig",
    "SamplingError",
    "SamplingWarning",
    "Scan",
    "Scores",
    "ScoringConfig",
    "SeTa",
    "State",
    "Subset",
    "Uniform",
    "use_threads",
]
