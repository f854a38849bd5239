"""Statistics of a run's sample counts, and its hard classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tools.reporting.record import Samples
from trainer.sample_table import entropy


@dataclass(frozen=True, slots=True)
class Spread:
    """How often samples were trained on.

    Attributes
    ----------
    samples
        N.
    entropy
        H(c) in nats, see :func:`trainer.sample_table.entropy`.
    unseen
        Samples never trained on.
    least, median, most
        Least, median and largest of the counts.
    """

    samples: int
    entropy: float
    unseen: int
    least: int
    median: float
    most: int

    @property
    def highest_entropy(self) -> float:
        """Log N, in nats: the entropy of equal counts."""
        return math.log(self.samples)

    @property
    def effective_samples(self) -> float:
        """Exp H(c): the number of samples that, seen equally often, are as varied."""
        return math.exp(self.entropy)


def spread(samples: Samples) -> Spread | None:
    """Return statistics of how often samples were trained on; None for a table without rows."""
    seen = samples.times_seen
    if len(seen) == 0:
        return None
    return Spread(
        samples=len(seen),
        entropy=entropy(seen),
        unseen=int((seen == 0).sum()),
        least=int(seen.min()),
        median=float(np.median(seen)),
        most=int(seen.max()),
    )


def class_probabilities(samples: Samples) -> dict[int, float]:
    """Return the mean over a class's samples of its mean probability, for classes with a sample seen."""
    known = np.isfinite(samples.mean_probability)
    labels, probabilities = samples.label[known], samples.mean_probability[known]
    return {int(label): float(probabilities[labels == label].mean()) for label in np.unique(labels)}
