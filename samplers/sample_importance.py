"""sample_importance and class_importance: weights computed once, early in training, and then fixed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from samplers.checks import check_at_least, check_choice
from samplers.draws import draw
from samplers.draws.arrays import Doubles, Floats
from samplers.draws.tables import AliasTable
from samplers.errors import SamplingError
from samplers.families.history import Recent, fill_unseen
from samplers.families.rounds import FeedbackBuffer, RoundDraft, RoundSampler, Statistic, announced
from samplers.families.sweeps import rest_of_sweep, stream
from samplers.families.weighted import burn_in_notes, burn_in_rounds, normalized
from samplers.plan import Plan
from samplers.protocol import Feedback
from samplers.scores import Scores

_STATISTIC: dict[str, Statistic] = {"p": "p_true", "loss": "loss", "el2n": "error", "gradient": "gradient"}
_LEAST = 2.0**-24  # replaces 0 if gamma is negative


class ImportanceSampler(RoundSampler):
    """Scans first, then draws with replacement by fixed weights (online: by weights updated every round)."""

    part: SampleImportance

    def __init__(self, part: SampleImportance, plan: Plan) -> None:
        super().__init__(part, plan)
        if part.by_class and plan.labels is None:
            raise SamplingError(
                "class_importance needs the plan's labels; got None: train on a set with classes"
            )
        self.first = burn_in_rounds(plan, part.epochs)
        if self.first == 0 and part.asks is not None:
            raise SamplingError(
                f"epochs must be above 0 to measure gradients at the end of the last; got {part.epochs:g}"
            )
        self._last = Recent(plan.samples)
        self._weights: Floats = np.zeros(plan.samples, np.float32)
        self._importance: Doubles = np.full(plan.samples, np.nan)
        self._fixed = np.array(False)
        self._alias: AliasTable | None = None
        self._averaged_at: float | None = None
        if part.scores is not None:
            scores = Scores.load(part.scores, plan.samples, plan.digest)
            averaged_at = scores.metadata.get("gamma")
            if isinstance(averaged_at, int | float):
                self._averaged_at = averaged_at
            self._fix(scores.scores)

    @property
    def notes(self) -> tuple[str, ...]:
        """Adds notes where the scan is cut, no predictions define the weights, or gamma isn't the file's."""
        lines = super().notes + burn_in_notes(self.plan, self.part.epochs)
        if self.first == 0 and self.part.scores is None and not self.part.online and self.part.gamma:
            lines += (
                "without a scanned epoch there are no predictions to compute weights from, and all stay "
                "equal: set epochs above 0, or scores",
            )
        gamma, averaged_at = self.part.gamma, self._averaged_at
        if averaged_at is not None and averaged_at != gamma:
            lines += (
                f"{self.part.scores} averages weights of several networks at gamma {averaged_at:g}, and at "
                f"{gamma:g} its powers are no such mean: set gamma {averaged_at:g}, or score with another",
            )
        return lines

    def observe(self, feedback: Feedback) -> None:
        """Copy feedback into the buffer; under the gradient metric, only that of requested scores."""
        if self.part.asks is None or feedback.gradient is not None:
            super().observe(feedback)

    def fold(self, rows: FeedbackBuffer) -> None:
        """Update each sample's last value."""
        self._last.fold(rows["ids"], rows[self.needs[0]], rows["coefficient"])

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the last values, the weights to draw by, w itself, and whether the weights are final."""
        return {
            **self._last.columns(),
            "weights": self._weights,
            "importance": self._importance,
            "fixed": self._fixed,
        }

    def load_memory(self, saved: dict[str, NDArray[Any]]) -> None:
        """Restore these arrays."""
        super().load_memory(saved)
        self._alias = None

    def _fix(self, difficulty: Floats) -> None:
        gamma = self.part.gamma
        if (difficulty < 0).any():
            sample = int((difficulty < 0).argmax())
            raise SamplingError(
                f"scores must be at least 0 to draw by; got {difficulty[sample]} for sample {sample}"
            )
        base = np.maximum(difficulty, _LEAST if gamma < 0 else 0).astype(np.float64)
        # Only ratios of weights matter: powers of ratios to the base of the largest weight don't overflow,
        # while those of the bases may.
        weights = (base / ((base.min() if gamma < 0 else base.max()) or 1)) ** gamma
        with np.errstate(over="ignore", under="ignore"):
            powers = base**gamma
        self._importance[...] = powers if np.isfinite(powers).all() and powers.any() else weights
        if self.part.by_class and self.plan.labels is not None:
            # A class is drawn by its total weight, then a sample uniformly: each sample has its class's mean.
            labels = self.plan.labels
            weights = (np.bincount(labels, weights) / np.maximum(np.bincount(labels), 1))[labels]
        if not weights.any():
            weights[:] = 1
        self._weights[...] = weights / weights.max()
        self._fixed[...] = not self.part.online
        self._alias = None

    def _update(self) -> None:
        if not self._fixed:
            values = self._last.values
            if self.part.asks is not None and np.isnan(values).all():
                raise SamplingError(
                    "gradients must be measured where an order requests scores; none was: score "
                    "score_ids, raise a budget that couldn't afford it, or choose another metric"
                )
            self._fix(fill_unseen(np.float32(1) - values if self.part.metric == "p" else values))

    def probabilities(self) -> Doubles:
        """Return P of eq. 4, float64[N]; before the weights are computed, that of the scan."""
        self.fold_buffered()
        if self.round < self.first:
            return rest_of_sweep(self.plan.samples, self.plan.seed, self.plan.before(self.round))
        self._update()
        return normalized(self._weights, self.plan.samples)

    def draw(self, size: int) -> RoundDraft:
        """Scan, or draw by the weights."""
        plan = self.plan
        if self.round < self.first:
            start = plan.before(self.round)
            ids = stream(plan.samples, plan.seed, start, start + size)
            asks = self.part.asks is not None and self.round + 1 == self.first
            return RoundDraft(ids, score_ids=np.arange(plan.samples) if asks else None)
        self._update()
        key = self.key("order")
        if self.part.draws == "systematic":
            ids = draw.systematic(self._weights, size, key)
        elif self.part.online:
            ids = draw.with_replacement(self._weights, size, key)
        else:
            self._alias = self._alias or AliasTable(self._weights)
            ids = self._alias.draw(size, key)
        if not self.part.unbiased:
            return RoundDraft(ids)
        chances = normalized(self._weights, plan.samples)
        return RoundDraft(ids, (1 / (plan.samples * chances[ids])).astype(np.float32))


@dataclass(frozen=True)
class SampleImportance:
    """Weights computed once from an early epoch's predictions; then difficult samples more often to the end.

    "Sample importance in SGD training" (anonymous, under review), eq. 4: E epochs scan the set, then once ::

        w_i = (1 - p_y)^gamma,    P_i = w_i / sum_j w_j

    from each sample's last prediction, and all later rounds are drawn with replacement by P. The paper
    uses E = 10 of 200 epochs on CIFAR-10, 1 on CIFAR-100, 5 with small networks, and gamma = 0.5 (0.1 on
    ImageNet). Its variants: weights recomputed every round (``online``; appendix E.1 does so after every
    iteration: choose short rounds), gradients weighted by 1 / (N P) (``unbiased``, E.3; the paper
    weights by the inverse of w), the loss as metric, and focus on easy samples (gamma below 0).
    The EL2N metric (E.2, E.4) is the norm of softmax - onehot of this network alone, which is also the
    norm of the loss's gradient with respect to the last layer's outputs; averaged over networks, it comes
    from a scores file. The gradient metric (E.2, GNorms) is the norm of a sample's gradient with respect to
    all parameters: the last scanned round requests a score of every sample, each at the cost of a forward and
    a backward pass. Weights of other networks, or averaged over several (appendix B), come from a scores file
    too, and replace the network's own after the same E epochs; with ``epochs`` 0 they are used from the first
    round on (as in figure 23 with EL2N). `trainer score --metric p` makes such files.

    E epochs are counted in whole rounds, rounded up.
    """

    epochs: float = 10
    """E, epochs scanned before weights are computed or a scores file's are used; at most half of the run."""
    gamma: float = 0.5
    """Focus: above 0 on difficult samples, 0 uniform, below 0 on easy ones."""
    metric: Literal["p", "loss", "el2n", "gradient"] = "p"
    """Base of the power: 1 - p_y, the loss, or the norm of the error (el2n) or of the whole gradient."""
    online: bool = False
    """Recompute the weights every round."""
    unbiased: bool = False
    """Weight losses by 1 / (N P), so that gradients have the same expectation as under uniform sampling."""
    draws: Literal["replacement", "systematic"] = "replacement"
    """With replacement, or systematic: each sample its expected number of times, rounded up or down."""
    scores: Path | None = None
    """A scores file with weights to use instead, after ``epochs``."""

    by_class: ClassVar[bool] = False
    may_starve: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_at_least("epochs", self.epochs, 0)
        if not np.isfinite(self.gamma):
            raise SamplingError(f"gamma must be finite; got {self.gamma}")
        check_choice("metric", self.metric, tuple(_STATISTIC))
        check_choice("draws", self.draws, ("replacement", "systematic"))
        if self.scores is not None and self.online:
            raise SamplingError("online must be off with a scores file, whose weights are fixed; got True")
        if self.asks is not None and self.online:
            raise SamplingError("online must be off with gradients, which are measured once; got True")

    @property
    def needs(self) -> tuple[Statistic, ...]:
        """The metric's statistic; nothing where the weights come from a scores file."""
        return () if self.scores is not None else (_STATISTIC[self.metric],)

    @property
    def asks(self) -> Literal["gradient"] | None:
        """Cost per scored sample: its gradient if that is the metric; else None, nothing is scored."""
        return "gradient" if self.metric == "gradient" and self.scores is None else None

    def build(self, plan: Plan) -> ImportanceSampler:
        """Return the sampler."""
        return announced(ImportanceSampler(self, plan))


@dataclass(frozen=True)
class ClassImportance(SampleImportance):
    """Draws a class by the importance of its samples, then a sample uniformly within the class.

    SGD-SCI of "Sample importance in SGD training", section 4.3: the class importance is the sum of
    sample_importance's weights over a class, divided by the sum over all samples::

        P(class c) = sum over i in c of w_i / sum_j w_j,    P_i = P(class of i) / (samples of that class)

    The paper extracts them "from the sample weights computed by our method": by default from this run after
    its own E scanned epochs, and with ``scores`` from another run, whose weights are summed by class.
    Needs the plan's labels. Otherwise, and in all options, as sample_importance.
    """

    by_class: ClassVar[bool] = True
    reads_labels: ClassVar[bool] = True

    def build(self, plan: Plan) -> ImportanceSampler:
        """Return the sampler."""
        return announced(ImportanceSampler(self, plan))
