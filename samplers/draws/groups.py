"""Weighted draws without replacement within each of many groups of consecutive candidates."""

from __future__ import annotations

import numpy as np

from samplers.draws import counter, threads
from samplers.draws.arrays import Doubles, Floats, Ids
from samplers.draws.counter import exponential, word
from samplers.draws.draw import check_weights
from samplers.draws.kept import kernel


@kernel(error_model="numpy")
def _smallest(values: Doubles, rank: int) -> float:
    """Return the value of ``rank``, from 0 for the smallest; the values are reordered (Hoare's selection)."""
    low, high = 0, values.size - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if rank <= j:
            high = j
        elif rank >= i:
            low = i
        else:
            break
    return float(values[rank])


@kernel(error_model="numpy")
def _draw(
    start: int, stop: int, slot: int, key: np.uint64, weights: Floats, wide: int, taken: int, out: Ids
) -> None:
    keys = np.empty(wide, np.float64)
    for group in range(start, stop):
        first = group * wide
        for i in range(wide):
            keys[i] = exponential(word(key, first + i)) / np.float64(weights[first + i])
        bound = _smallest(keys.copy(), taken - 1)
        below = 0
        for i in range(wide):
            below += keys[i] < bound
        ties = taken - below
        place = group * taken
        for i in range(wide):
            tied = keys[i] == bound and ties > 0
            if keys[i] < bound or tied:
                out[place] = first + i
                place += 1
                ties -= tied


def in_groups(weights: Floats, size: int, group: int, ratio: float, key: np.uint64) -> Ids:
    """Draw ``size`` candidates by weight: ``group`` of every ``ratio * group`` consecutive ones.

    Successive sampling within each group, by the exponential keys of `draw.without_replacement`; where too
    few weights of a group are above 0, its first others fill it up. The rest of ``size`` is drawn from
    ``ratio`` times as many.

    Parameters
    ----------
    weights
        float32 of the candidates, ``candidates_of(size, group, ratio)`` of them.
    size, group
        At least 1.
    ratio
        At least 1.
    key
        Key of the random numbers.

    Returns
    -------
    int64[size], positions of candidates, ascending.

    Raises
    ------
    SamplingError
        For a weight that is NaN, infinite or negative.
    """
    check_weights(weights)
    wide, groups = round(group * ratio), size // group
    chosen = np.empty(size, np.int64)
    inside = groups * wide
    if groups:
        cuts = [(start // wide, stop // wide) for start, stop in threads.spans(inside, wide)]
        threads.run(_draw, cuts, key, weights[:inside], wide, group, chosen)
    if size > groups * group:
        rest, own = chosen[groups * group :], counter.derive(key, 1)
        threads.run(_draw, [(0, 1)], own, weights[inside:], len(weights) - inside, len(rest), rest)
        rest += inside
    return chosen


def candidates_of(size: int, group: int, ratio: float) -> int:
    """Return the number of candidates for ``size`` samples in groups of ``group`` and a rest."""
    groups, rest = divmod(size, group)
    return groups * round(group * ratio) + round(rest * ratio)
