"""mcl: minimax curriculum, from few diverse groups of samples to more and harder ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from samplers.checks import check_at_least
from samplers.draws.arrays import Doubles, Ids
from samplers.draws.counter import make_key
from samplers.draws.kept import kernel
from samplers.draws.shuffle import permutation, shuffled
from samplers.errors import SamplingError
from samplers.families.history import Recent
from samplers.families.rounds import FeedbackBuffer, RoundDraft, RoundSampler, Statistic, announced
from samplers.grouping.k_means import k_means
from samplers.plan import Plan
from samplers.scores import Scores


@kernel(error_model="numpy")
def choose_groups(gains: Doubles, features: Doubles, diversity: float, chosen: Ids) -> None:
    """Greedily maximize sum of ``gains`` + ``diversity`` * sum_u sqrt(sum of feature u), over groups.

    Lazy greedy (Minoux 1978): a group's gain only decreases as others are chosen, so its last computed gain
    is an upper bound, and most are never computed again.
    """
    groups, width = features.shape
    covered = np.zeros(width, np.float64)
    bounds = np.full(groups, np.inf, np.float64)
    for step in range(chosen.size):
        while True:
            best = np.argmax(bounds)
            gain = 0.0
            for u in range(width):
                gain += np.sqrt(covered[u] + features[best, u]) - np.sqrt(covered[u])
            bounds[best] = gains[best] + diversity * gain
            if not bounds[best] < np.max(bounds):  # NaN, too, ends the search
                break
        chosen[step] = best
        bounds[best] = -np.inf
        for u in range(width):
            covered[u] += features[best, u]


class MCLSampler(RoundSampler):
    """Draws uniformly from the groups chosen for the round by loss and diversity."""

    part: MCL

    def __init__(self, part: MCL, plan: Plan, group: Ids, features: Doubles) -> None:
        super().__init__(part, plan)
        self._loss = Recent(plan.samples)
        self._group = group
        self._features = features

    def fold(self, rows: FeedbackBuffer) -> None:
        """Update each sample's last loss."""
        self._loss.fold(rows["ids"], rows["loss"], rows["coefficient"])

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the last losses, and the groups with their features, now independent of the scores file."""
        return {**self._loss.columns(), "group": self._group, "features": self._features}

    def load_memory(self, saved: dict[str, NDArray[Any]]) -> None:
        """Restore these arrays; the number of groups and their features may differ."""
        self._group = np.array(saved["group"], np.int64)
        self._features = np.array(saved["features"], np.float64)
        for name, column in self._loss.columns().items():
            column[...] = saved[name]

    def chosen_groups(self) -> Ids:
        """Return the groups of the next round, in the order of the greedy choice."""
        part, groups = self.part, len(self._features)
        rounds = self.rounds * self.total / max(1, self.plan.total)
        fraction = part.first + (part.last - part.first) * min(1.0, self.round / max(1, rounds - 1))
        seen = ~np.isnan(self._loss.values)
        counts = np.bincount(self._group[seen], minlength=groups)
        sums = np.bincount(self._group[seen], self._loss.values[seen], groups)
        losses = np.divide(sums, counts, out=np.full(groups, np.nan), where=counts > 0)
        losses = np.where(counts > 0, losses, np.nanmax(losses) if counts.any() else 1.0)
        unit = losses.mean() / np.sqrt(self._features).sum(axis=1).mean()
        diversity = part.diversity * (1 - part.decay) ** self.round * unit
        chosen = np.empty(max(1, round(fraction * groups)), np.int64)
        choose_groups(losses, self._features, diversity, chosen)
        return chosen

    def _pool(self) -> Ids:
        wanted = np.zeros(len(self._features), bool)
        wanted[self.chosen_groups()] = True
        return np.flatnonzero(wanted[self._group])

    def probabilities(self) -> Doubles:
        """Return equal probabilities for all samples of the chosen groups, float64[N]."""
        self.fold_buffered()
        chances = np.zeros(self.plan.samples)
        chances[self._pool()] = 1
        chances /= chances.sum()
        return chances

    def draw(self, size: int) -> RoundDraft:
        """Draw without replacement from the chosen groups; whole passes if they hold too few samples."""
        pool = self._pool()
        passes = -(-size // len(pool))
        parts = [shuffled(pool, self.key("order", self.round * 2**20 + n)) for n in range(passes)]
        return RoundDraft(np.concatenate([np.empty(0, np.int64), *parts])[:size])


@dataclass(frozen=True)
class MCL:
    """Minimax curriculum: a few diverse groups of samples first, then more, harder, less diverse ones.

    Zhou & Bilmes, ICLR 2018, eq. 2 and algorithm 1. The set is clustered once. Each round greedily chooses
    the k groups A that maximize ::

        sum_{i in A} loss_i + lambda * F(A),    F(A) = sum_u sqrt(sum_{i in A} c_u(i))

    with c_u(i) >= 0 the u-th feature of the center of group i; then lambda <- (1 - gamma) * lambda and
    k grows linearly. lambda is in units that make loss and diversity of the average group equal.

    Fitted to the plan: a round's N * B samples are drawn without replacement from all samples of the chosen
    groups, in whole passes if these hold fewer (a round then holds samples more than once); a stage of
    the algorithm is a round. Groups come from the features of a scores file by k-means. Without a file they
    are random equal parts of each class, with the class as the only feature, so that diversity balances
    classes; this needs the plan's labels. A group's loss is the mean of its samples' last losses, or the
    largest if none was seen; the paper, which may not use all labels, takes the loss of the sample nearest to
    the center.
    """

    features: Path | None = None
    """A scores file with features; by default, groups are parts of classes."""
    groups: int = 1000
    """Number of groups; at most a tenth of the set."""
    first: float = 0.1
    """Fraction of the groups chosen in the first round."""
    last: float = 0.9
    """Fraction of the groups chosen in the last round."""
    diversity: float = 1.0
    """Initial lambda."""
    decay: float = 0.05
    """gamma, by which lambda decays every round."""

    needs: ClassVar[tuple[Statistic, ...]] = ("loss",)
    may_starve: ClassVar[bool] = True

    @property
    def reads_labels(self) -> bool:
        """Whether groups are parts of classes."""
        return self.features is None

    def __post_init__(self) -> None:
        check_at_least("groups", self.groups, 1)
        if not 0 < self.first <= self.last <= 1:
            raise SamplingError(
                f"first and last must be above 0, at most 1, and rise; got {self.first} and {self.last}"
            )
        check_at_least("diversity", self.diversity, 0)
        if not 0 <= self.decay <= 1:
            raise SamplingError(f"decay must be from 0 to 1; got {self.decay}")

    def build(self, plan: Plan) -> MCLSampler:
        """Return the sampler, after clustering the set."""
        count = max(1, min(self.groups, plan.samples // 10))
        if self.features is not None:
            features = Scores.load(self.features, plan.samples, plan.digest).features
            if features is None:
                raise SamplingError(f"mcl needs a scores file with features; {self.features} has none")
            if (features < 0).any():
                raise SamplingError(
                    f"mcl's features must be at least 0, as after a ReLU; got {features.min()}"
                )
            if not (features > 0).any():
                raise SamplingError(
                    f"mcl's features must not all be 0; those in {self.features} are: score the set again"
                )
            group = _without_gaps(k_means(features, count, plan.seed))
            sums = np.zeros((group.max() + 1, features.shape[1]))
            np.add.at(sums, group, features)
            return announced(MCLSampler(self, plan, group, sums / np.bincount(group)[:, None]))
        if plan.labels is None:
            raise SamplingError(
                "mcl needs a scores file with features, or the plan's labels; got neither: train on a set of "
                "classes"
            )
        # Distribute the shuffled samples of each class over that class's groups.
        order = permutation(plan.samples, make_key(plan.seed, "mcl"))
        order = order[np.argsort(plan.labels[order], kind="stable")]
        group = np.empty(plan.samples, np.int64)
        labels = plan.labels[order]
        parts = -(-count * np.bincount(plan.labels) // plan.samples)
        begins = np.searchsorted(labels, labels)
        group[order] = labels * (parts.max() + 1) + (np.arange(plan.samples) - begins) % parts[labels]
        group = _without_gaps(group)
        classes = np.zeros((group.max() + 1, int(plan.labels.max()) + 1))
        classes[group, plan.labels] = 1
        return announced(MCLSampler(self, plan, group, classes))


def _without_gaps(group: Ids) -> Ids:
    return np.unique(group, return_inverse=True)[1].astype(np.int64)
