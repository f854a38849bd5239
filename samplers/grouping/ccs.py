"""Coverage-centric choice of a subset: strata over the scores, without the hardest samples."""

from __future__ import annotations

import numpy as np

from samplers.draws.arrays import Floats, Ids
from samplers.draws.shuffle import permutation
from samplers.errors import SamplingError


def stratified(scores: Floats, count: int, key: np.uint64, *, cut: float = 0.0, strata: int = 50) -> Ids:
    """Choose ``count`` samples that cover the range of the scores.

    Coverage-centric coreset selection, CCS (Zheng et al. 2023), by its code. The fraction ``cut`` of the
    highest scores, the hardest samples and the mislabelled among them, is left out. The range of the others'
    scores is divided into strata of equal width. From the smallest stratum to the largest, each gets the
    budget that is left divided by the strata that are left, or all of its samples where it holds fewer; which
    of its samples are kept is random.

    Parameters
    ----------
    scores
        float32[N], higher for harder samples. CCS uses the area under the margin, as `trainer score
        --metric aum` measures it; EL2N and forgetting counts serve, too.
    count
        Number of samples to keep.
    key
        Key of the random numbers.
    cut
        beta, the fraction of the set that is left out: by the code's documentation from 0 where most is
        kept to 0.3 where a tenth is, tuned for each data set and size.
    strata
        k, 50 in the code.

    Returns
    -------
    int64[count], ascending.

    Raises
    ------
    SamplingError
        When fewer samples than ``count`` are left.
    """
    samples = len(scores)
    order = permutation(samples, key)  # of equal scores at the edge any may be cut
    left = order[np.argsort(scores[order], kind="stable")][: samples - round(cut * samples)]
    if count > len(left):
        raise SamplingError(
            f"choice ccs must keep at most what it doesn't cut; of {samples:,} samples it cuts "
            f"{samples - len(left):,} and is to keep {count:,}: lower cut or keep"
        )
    left = order[np.isin(order, left)]
    own = scores[left].astype(np.float64)
    low, high = own.min(), own.max()
    width = (high - low) / strata or 1.0
    stratum = np.minimum((own - low) / width, strata - 1).astype(np.int64)
    sizes = np.bincount(stratum, minlength=strata)
    chosen, missing = [], count
    for number, place in enumerate(np.argsort(sizes, kind="stable")):
        taken = min(int(sizes[place]), missing // (strata - number))
        chosen.append(left[stratum == place][:taken])
        missing -= taken
    return np.sort(np.concatenate(chosen))
