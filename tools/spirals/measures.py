"""How far the features of labelled points are from those of unlabelled ones: table 2.1 of Kocyigit (2023)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

BINS, SPLITS, PART = 20, 20, 50
"""Bins of histograms; random splits of the unlabelled points, and how many of them are the smaller part."""


@dataclass(frozen=True, slots=True)
class Distances:
    """Means over a layer's channels.

    Attributes
    ----------
    pearson
        Correlation of labelled points with random unlabelled ones: 0 but for chance; the paper prints it.
    kl, reverse_kl
        Kullback-Leibler divergences in nats, of the unlabelled points' distribution from that of the labelled
        ones, and the reverse.
    wasserstein, unsupervised
        Wasserstein-1 distance between labelled and unlabelled points, and between two disjoint parts of the
        unlabelled ones, of 50 and the rest.
    rejected
        Fraction of channels whose two distributions the Kolmogorov-Smirnov test tells apart at 0.05; one in
        twenty by chance.
    """

    pearson: float
    kl: float
    reverse_kl: float
    wasserstein: float
    unsupervised: float
    rejected: float


def distances(labelled: Values, unlabelled: Values, rng: np.random.Generator) -> Distances:
    """Return the distances of features, float64[n, width] and float64[m, width], channel by channel."""
    every: list[list[float]] = []
    for ours, theirs in zip(labelled.T, unlabelled.T, strict=True):
        parts, pairs = [], []
        for _ in range(SPLITS):
            mixed = rng.permutation(theirs)
            parts.append(wasserstein(mixed[:PART], mixed[PART:]))
            pairs.append(_correlation(ours, mixed[: len(ours)]))
        every.append(
            [
                float(np.mean(pairs)),
                divergence(theirs, ours),
                divergence(ours, theirs),
                wasserstein(ours, theirs),
                float(np.mean(parts)),
                float(kolmogorov_smirnov(ours, theirs) < 0.05),
            ]
        )
    return Distances(*np.mean(every, axis=0).tolist())


def _correlation(one: Values, other: Values) -> float:
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def divergence(p: Values, q: Values) -> float:
    """Return KL(P || Q) in nats by histograms of `BINS` equal bins over both, a count more in each."""
    low, high = min(p.min(), q.min()), max(p.max(), q.max())
    if low == high:
        return 0.0
    of_p, of_q = (np.histogram(values, BINS, (low, high))[0] + 1.0 for values in (p, q))
    of_p, of_q = of_p / of_p.sum(), of_q / of_q.sum()
    return float((of_p * np.log(of_p / of_q)).sum())


def wasserstein(one: Values, other: Values) -> float:
    """Return the Wasserstein-1 distance of two samples: the area between their CDFs."""
    both = np.sort(np.concatenate([one, other]))
    gaps = np.diff(both)
    first, second = (np.searchsorted(np.sort(values), both[:-1], side="right") for values in (one, other))
    return float((np.abs(first / len(one) - second / len(other)) * gaps).sum())


def kolmogorov_smirnov(one: Values, other: Values) -> float:
    """Return the p-value of the two-sample Kolmogorov-Smirnov test, by the asymptotic distribution."""
    both = np.concatenate([one, other])
    first, second = (np.searchsorted(np.sort(values), both, side="right") for values in (one, other))
    largest = float(np.abs(first / len(one) - second / len(other)).max())
    weight = np.sqrt(len(one) * len(other) / (len(one) + len(other)))
    # Stephens (1970): the asymptotic series, corrected for small samples.
    scaled = (weight + 0.12 + 0.11 / weight) * largest
    if scaled < 0.2:
        return 1.0
    k = np.arange(1, 101)
    return float(np.clip(2 * ((-1.0) ** (k - 1) * np.exp(-2 * k**2 * scaled**2)).sum(), 0, 1))
