"""Alias table: fast repeated draws by fixed weights."""

from __future__ import annotations

import numpy as np

from samplers.draws import threads
from samplers.draws.arrays import Doubles, Ids, Places, Weights
from samplers.draws.counter import unit, word
from samplers.draws.draw import check_weights
from samplers.draws.kept import kernel
from samplers.errors import SamplingError


@kernel(error_model="numpy")
def _pair(chances: Doubles, aliases: Places) -> None:
    # ``chances`` come in as weight over mean weight. The stacks of under- and overfull columns share one
    # array, from its two ends.
    size = chances.size
    stack = np.empty(size, np.int32)
    under, over = 0, size
    for i in range(size):
        if chances[i] < 1:
            stack[under] = i
            under += 1
        else:
            over -= 1
            stack[over] = i
    while under > 0 and over < size:
        under -= 1
        poor, rich = stack[under], stack[over]
        aliases[poor] = rich
        chances[rich] = (chances[rich] + chances[poor]) - 1
        if chances[rich] < 1:
            over += 1
            stack[under] = rich
            under += 1
    # Rounding leaves some columns on a stack, full up to rounding errors.
    for i in range(over, size):
        chances[stack[i]] = 1


@kernel(error_model="numpy")
def _draw_aliased(
    start: int, stop: int, slot: int, key: np.uint64, chances: Doubles, aliases: Places, out: Ids
) -> None:
    for j in range(start, stop):
        i = np.int64(unit(word(key, 2 * j)) * np.float64(chances.size))
        out[j] = i if unit(word(key, 2 * j + 1)) < chances[i] else aliases[i]


class AliasTable:
    """Draws with replacement by fixed weights in constant time each (Walker 1977, Vose 1991).

    Building it takes a pass over all N weights, so it pays from the second draw on.

    Parameters
    ----------
    weights
        float32[N] or float64[N], at least one above 0.

    Raises
    ------
    SamplingError
        For a weight that is NaN, infinite or negative (the id is named), or when all are 0.
    """

    def __init__(self, weights: Weights) -> None:
        top = check_weights(weights)
        if top == 0:
            raise SamplingError("weights must hold at least one above 0; all are 0")
        self._chances: Doubles = np.divide(weights, top, dtype=np.float64)
        self._chances *= len(weights) / self._chances.sum()
        # Default alias of columns that rounding leaves unpaired: never an id of weight 0.
        self._aliases = np.full(len(weights), int(weights.argmax()), np.int32)
        _pair(self._chances, self._aliases)

    def draw(self, size: int, key: np.uint64) -> Ids:
        """Draw ``size`` ids independently, int64[size], id i with probability w_i / sum(w)."""
        out = np.empty(size, np.int64)
        threads.run(_draw_aliased, threads.spans(size), key, self._chances, self._aliases, out)
        return out
