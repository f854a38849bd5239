"""Arithmetic of the cost of scoring views, and of runs at several resolutions (Kocyigit 2023, chapter 3)."""

from __future__ import annotations

from collections.abc import Sequence

PASSES = 6.0
"""C: cost of a step per image in forward passes: two views forward and backward, a backward pass as two."""


def scoring_overhead(views: int, scored: int, trained: int, passes: float = PASSES) -> float:
    """Return the cost of scoring an image's views, relative to training on a pair of them.

    1 / M - 1 of eq. 3.11, with M = r^2 C / (r^2 C + m r_sel^2), which table 3.8 has.

    Parameters
    ----------
    views
        m.
    scored, trained
        Image sizes r_sel and r in pixels.
    passes
        C.
    """
    return views * scored**2 / (passes * trained**2)


def relative_cost(sizes: Sequence[int], full: int) -> float:
    """Return the mean cost of steps at image sizes, of as many steps each, relative to steps at ``full``."""
    return sum((size / full) ** 2 for size in sizes) / len(sizes)


def speedup(full_epochs: float, epochs: float, resolution: float = 1.0, overhead: float = 0.0) -> float:
    """Return how many times less a run costs than one of ``full_epochs`` epochs at full resolution.

    Parameters
    ----------
    resolution
        Mean cost of its steps by their resolution: `relative_cost`.
    overhead
        Cost of scoring, relative to a step at full resolution: `scoring_overhead`.
    """
    return full_epochs / epochs / (resolution + overhead)
