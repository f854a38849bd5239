"""Average precision of one label."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def average_precision(scores: NDArray[np.floating[Any]], present: NDArray[np.bool_]) -> float:
    """Return the area under the precision-recall curve of one label, by steps; NaN where no image has it.

    Sum over thresholds of precision times the gain in recall; images of equal scores pass a threshold
    together, so that their order doesn't matter.

    Parameters
    ----------
    scores
        float[n], higher for images that more likely have the label.
    present
        bool[n], the images that have it.
    """
    if not present.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(present[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    precision, gain = hits[last] / (last + 1), np.diff(hits[last], prepend=0) / hits[-1]
    return float((precision * gain).sum())
