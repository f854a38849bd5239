"""DUAL's choice of a subset: by difficulty and uncertainty, the easier the less is kept."""

from __future__ import annotations

import numpy as np

from samplers.draws import draw
from samplers.draws.arrays import Doubles, Floats, Ids
from samplers.errors import SamplingError

_SUM = 16.0  # a + b of the beta distribution
_SCALE = 15.0
_HARDEST = 10  # samples of the highest scores, whose mean probability the distribution begins at
_EDGE = 1e-6  # probabilities are kept as far from 0 and 1, where the density may be 0 or infinite


def beta_weights(scores: Floats, p_true: Floats, kept: float, exponent: float) -> Doubles:
    """Return the weights that DUAL draws by: the score, times the density of a beta distribution at p.

    DUAL (Cho et al. 2025), pruning-ratio-adaptive sampling ::

        w_i = score_i * Beta(p_i; a, b),    b = 15 * (1 - m) * (1 - r^c),    a = 16 - b

    with p_i the sample's mean probability over the epochs scored, m its mean over the ten samples of the
    highest scores, r = 1 - ``kept`` the fraction left out, and c the ``exponent``. Where little is left
    out, the density is highest near the highest scores; the more is, the easier samples it prefers.

    The paper's text was not at hand; this is what the released code computes.

    Parameters
    ----------
    scores, p_true
        float32[N] of `trainer score --metric dual`, scores at least 0.
    kept
        Fraction of the set that is kept.

    Returns
    -------
    float64[N], of maximum 1, or all 0 where the scores are.
    """
    if (scores < 0).any():
        sample = int((scores < 0).argmax())
        raise SamplingError(f"scores must be at least 0 to draw by; got {scores[sample]} for sample {sample}")
    hardest = np.argsort(scores, kind="stable")[-_HARDEST:]
    anchor = p_true[hardest].mean(dtype=np.float64)
    b = _SCALE * (1 - anchor) * (1 - (1 - kept) ** exponent)
    p = np.clip(p_true.astype(np.float64), _EDGE, 1 - _EDGE)
    with np.errstate(divide="ignore"):
        logs = np.log(scores.astype(np.float64)) + (_SUM - b - 1) * np.log(p) + (b - 1) * np.log1p(-p)
    top = logs.max()
    weights: Doubles = np.exp(logs - top) if np.isfinite(top) else np.zeros(len(scores))
    return weights


def beta_sampled(scores: Floats, p_true: Floats, count: int, key: np.uint64, exponent: float) -> Ids:
    """Draw ``count`` samples without replacement by `beta_weights`; int64[count], ascending."""
    weights = beta_weights(scores, p_true, count / len(scores), exponent)
    return np.sort(draw.without_replacement(weights, count, key, fill=True))
