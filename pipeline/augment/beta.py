"""Symmetric beta variates from counter-based uniforms, exact for any parameter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.randomness import Keys, batch_uniforms, sample_doubles

_ATTEMPTS = 8
_LEAST = 1e-6
"""For much smaller parameters, logarithms of powers overflow."""


def check_alpha(alpha: float) -> None:
    """Raise `DataError` unless ``alpha`` is a valid parameter of a beta distribution."""
    if not 0 < alpha < float("inf"):
        raise DataError(f"alpha must be above 0 and finite, the parameter of Beta(alpha, alpha); got {alpha}")
    if alpha < _LEAST:
        raise DataError(
            f"alpha must be at least {_LEAST:g}; got {alpha:g}: below that, every coefficient is 0 or 1"
        )


def draw_beta(keys: Keys, stream: str, alpha: float, *, per_sample: bool) -> NDArray[np.float64]:
    """Draw Beta(alpha, alpha), either one value for the whole batch or one per sample.

    Returns
    -------
    float64[n] in [0, 1]; all equal without ``per_sample``.
    """
    if per_sample:
        return symmetric_beta(alpha, lambda first, count: sample_doubles(keys, stream, count, first))
    one = symmetric_beta(alpha, lambda first, count: batch_uniforms(keys, stream, count, first)[None])
    return np.repeat(one, len(keys))


def symmetric_beta(alpha: float, draw: Callable[[int, int], NDArray[np.float64]]) -> NDArray[np.float64]:
    """Transform uniforms into Beta(alpha, alpha) variates.

    For alpha above 1/2 by Ulrich's polar method, without rejection (Devroye, "Random variate generation in
    one line of code", WSC 1996); up to 1/2 by Jöhnk's rejection method (1964), in logarithms, so that no
    power underflows. There it accepts at least pi/4 of its attempts; attempts are numbered within each row's
    own stream, so a rejection doesn't affect other rows.

    Parameters
    ----------
    draw
        ``draw(first, count)`` returns float64[m, count], the uniforms of m streams from number ``first`` on.

    Returns
    -------
    float64[m] in [0, 1]
    """
    if alpha > 0.5:
        polar = draw(0, 2)
        radius = np.sqrt(1 - polar[:, 0] ** (2 / (2 * alpha - 1)))
        return 0.5 + 0.5 * radius * np.cos(2 * np.pi * polar[:, 1])
    first = 0
    values = np.full(0, np.nan)
    pending = np.full(0, True)
    while first == 0 or pending.any():
        attempts = np.log1p(-draw(first, 2 * _ATTEMPTS)) / alpha
        mine, other = attempts[:, 0::2], attempts[:, 1::2]
        total = np.logaddexp(mine, other)
        accepted = total <= 0
        # take_along_axis takes longer than all the rest of a batch's one value.
        chosen = np.arange(len(total)), accepted.argmax(axis=1)
        found = np.exp(mine[chosen] - total[chosen])
        rejected = np.logical_not(accepted.any(axis=1))
        values = found if first == 0 else np.where(pending, found, values)
        pending = rejected if first == 0 else np.logical_and(pending, rejected)
        first += 2 * _ATTEMPTS
    return values
