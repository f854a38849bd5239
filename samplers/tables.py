"""Weights kept for many draws: an alias table where they stay as they are, a sum tree where they change."""

from __future__ import annotations

import numpy as np
from numba import njit

from samplers import blocks
from samplers.arrays import Doubles, Ids, Places, Weights
from samplers.counter import unit, word
from samplers.draw import check_weights
from samplers.errors import SamplingError


@njit(nogil=True, error_model="numpy")
def _pair(chances: Doubles, aliases: Places) -> None:
    # ``chances`` come in as weight over mean weight. The stacks of the under- and the overfull share one
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
    # Rounding leaves some on one of the stacks, within its error of full.
    for i in range(over, size):
        chances[stack[i]] = 1


@njit(nogil=True, error_model="numpy")
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
        # Whom a column that rounding leaves unpaired gives its missing part to; never to an id of weight 0.
        self._aliases = np.full(len(weights), int(weights.argmax()), np.int32)
        _pair(self._chances, self._aliases)

    def draw(self, size: int, key: np.uint64) -> Ids:
        """``size`` independent draws, int64[size], each of id i with probability w_i / sum(w)."""
        out = np.empty(size, np.int64)
        blocks.run(_draw_aliased, blocks.spans(size), key, self._chances, self._aliases, out)
        return out


@njit(nogil=True, error_model="numpy")
def _build(tree: Doubles) -> None:
    for node in range(tree.size // 2 - 1, 0, -1):
        tree[node] = tree[2 * node] + tree[2 * node + 1]


@njit(nogil=True, error_model="numpy")
def _update(tree: Doubles, ids: Ids, weights: Doubles) -> None:
    # Parents are summed anew from their children, not corrected by a difference: nothing drifts.
    for row in range(ids.size):
        node = ids[row] + tree.size // 2
        tree[node] = weights[row]
        while node > 1:
            node //= 2
            tree[node] = tree[2 * node] + tree[2 * node + 1]


@njit(nogil=True, error_model="numpy")
def _descend(tree: Doubles, key: np.uint64, remove: bool, out: Ids, removed: Doubles) -> int:
    leaves = tree.size // 2
    for j in range(out.size):
        if tree[1] == 0:
            return j
        point = unit(word(key, j)) * tree[1]
        node = 1
        while node < leaves:
            node *= 2
            # Rounding can put the point at the end of the last branch that has any weight.
            if point >= tree[node] and tree[node + 1] > 0:
                point -= tree[node]
                node += 1
        out[j] = node - leaves
        if remove:
            removed[j] = tree[node]
            tree[node] = 0
            while node > 1:
                node //= 2
                tree[node] = tree[2 * node] + tree[2 * node + 1]
    return out.size


class SumTree:
    """Draws by weights that change between draws: a binary tree of sums in float64.

    For orders that change within a round: take a batch, hear its losses, put new weights in, take the
    next. An update and a draw cost O(log N) each.

    Parameters
    ----------
    weights
        float32[N] or float64[N].
    """

    def __init__(self, weights: Weights) -> None:
        check_weights(weights)
        self.samples = len(weights)
        leaves = 1 << (self.samples - 1).bit_length()
        self._tree = np.zeros(2 * leaves, np.float64)
        self._tree[leaves : leaves + self.samples] = weights
        _build(self._tree)

    @property
    def weights(self) -> Doubles:
        """The weights as they are now, float64[N]."""
        leaves = len(self._tree) // 2
        return self._tree[leaves : leaves + self.samples].copy()

    def update(self, ids: Ids, weights: Weights) -> None:
        """Set the weights of ``ids``, int64[n]; of an id that comes twice the last one counts."""
        if not len(ids):
            return
        if len(ids) != len(weights):
            raise SamplingError(f"update needs one weight an id; got {len(weights)} for {len(ids)} ids")
        if ids.min() < 0 or ids.max() >= self.samples:
            raise SamplingError(f"ids must be from 0 to {self.samples - 1}; got {ids.min()} to {ids.max()}")
        wrong = ~((weights >= 0) & np.isfinite(weights))
        if wrong.any():
            row = int(wrong.argmax())
            raise SamplingError(
                f"weights must be finite and at least 0; got {weights[row]} for sample {ids[row]}"
            )
        _update(self._tree, ids, weights.astype(np.float64, copy=False))

    def draw(self, size: int, key: np.uint64) -> Ids:
        """``size`` independent draws by the present weights, int64[size]."""
        return self._fill(size, key, remove=False)

    def take(self, size: int, key: np.uint64) -> Ids:
        """Draw ``size`` different ids one after another, int64[size]; their weights are 0 afterwards."""
        return self._fill(size, key, remove=True)

    def _fill(self, size: int, key: np.uint64, *, remove: bool) -> Ids:
        out = np.empty(size, np.int64)
        removed = np.empty(size if remove else 0, np.float64)
        with np.errstate(over="ignore"):
            drawn = _descend(self._tree, key, remove, out, removed)
        if drawn < size:
            _update(self._tree, out[: len(removed[:drawn])], removed[:drawn])
            raise SamplingError(f"size must be at most the {drawn} samples of weight above 0; got {size}")
        return out
