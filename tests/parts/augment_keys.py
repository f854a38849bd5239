"""Keys of the draws for a batch of augmentations' tests."""

from __future__ import annotations

import numpy as np

from pipeline.randomness import Keys


def keys_of(n: int, step: int = 0, *, first: int = 0, seed: int = 0, scope: str = "") -> Keys:
    """Return keys of ``n`` samples from ``first`` on, each there once."""
    ids, occurrences = np.arange(n) + first, np.zeros(n, np.int64)
    return Keys(seed=seed, round=0, step=step, ids=ids, occurrences=occurrences, scope=scope)
