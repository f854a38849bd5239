"""divbs: candidates whose gradients together span the pool's mean gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainer.hardware.precision import at_least_float32
from trainer.methods import Offer
from trainer.selection.helpers.base import BaseSelection, Scored
from trainer.selection.helpers.checks import check_at_least
from trainer.selection.protocol import Candidates, Choice, Setting


@dataclass(frozen=True)
class Divbs(Scored):
    """A diverse batch: each next candidate adds most to the span that holds the pool's mean gradient.

    DivBS, Hong et al. (2024). A candidate stands for its last-layer gradient g_i = (p_i - y_i) (x) feature_i.
    From an empty basis, b times the candidate is taken whose part orthogonal to those taken already (Gram and
    Schmidt) points most along what is left of the pool's mean gradient, along or against::

        argmax_i <g_i', r> ^ 2 / ||g_i'||^2,    g' and r: g_i and the mean less their projections

    Redundant samples have little left once one of them is taken. Only inner products are needed, and those
    of outer products are products of inner products, so no gradient is ever formed. Once the candidates' span
    is used up the first ones left fill the batch.

    They are chosen one after the other, 19 kernels each on a GPU: some thousand launches for a batch of 64.

    The released code draws each next candidate by multinomial over these values; here it is their arg max, as
    the paper's objective has it, and nothing is random.
    """

    ratio: float = 2.0
    """Candidates loaded per trained sample."""

    needs: ClassVar[tuple[Offer, ...]] = ("error",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("ratio", self.ratio, 1)

    @property
    def features(self) -> bool:
        """True: the scoring pass returns the inputs of the last layer."""
        return True

    def build(self, setting: Setting) -> DivbsSelection:
        """Make the selection."""
        return DivbsSelection(self, setting)


class DivbsSelection(BaseSelection):
    """Chooses from each pool by its gradients' inner products."""

    def choose(self, candidates: Candidates) -> Choice:
        """Choose greedily."""
        assert candidates.outputs is not None
        assert candidates.labels is not None  # a method without classes was refused
        assert candidates.features is not None
        inner = gradient_products(candidates.outputs, candidates.labels, candidates.features)
        return Choice(spanning(inner, self.count(candidates)))


def gradient_products(outputs: Tensor, labels: Tensor, features: Tensor) -> Tensor:
    """Return inner products of the last layer's weight gradients of cross-entropy.

    Parameters
    ----------
    outputs
        float[n, classes]
    labels
        int64[n]
    features
        float[n, d], inputs of the last layer.

    Returns
    -------
    float64[n, n]: <(p_i - y_i) (x) f_i, (p_j - y_j) (x) f_j>.
    """
    error = torch.softmax(at_least_float32(outputs), dim=1)
    error = error.scatter_add(1, labels[:, None], error.new_full((len(labels), 1), -1.0))
    features = at_least_float32(features)
    return (error @ error.T).double() * (features @ features.T).double()


def spanning(inner: Tensor, count: int) -> Tensor:
    """Choose vectors greedily, each to increase the projection of the mean onto their span the most.

    A pivoted Cholesky factorization of the inner products is Gram and Schmidt's method without the vectors.

    Parameters
    ----------
    inner
        float64[n, n], the inner products of n vectors.
    count
        At most n.

    Returns
    -------
    int64[count], in the order taken.
    """
    n = len(inner)
    length = inner.diagonal().clone()
    negligible = 1e-6 * length
    along = inner.mean(dim=1)
    basis = inner.new_zeros(n, count)
    infinite = torch.full_like(length, torch.inf)
    taken = torch.zeros_like(length)
    indices = torch.zeros(count, dtype=torch.int64, device=inner.device)
    for k in range(count):
        # What is left of each, infinite where that is negligible: such candidates gain 0, those taken -inf.
        left = torch.where(length > negligible, length, infinite)
        gain = torch.addcdiv(taken, along.square(), left)
        place = torch.argmax(gain, dim=0, keepdim=True, out=indices[k : k + 1])
        taken.index_fill_(0, place, -torch.inf)
        # The chosen one's orthogonal part as a unit vector, in products with all; none where nothing is left.
        scale = left.index_select(0, place).rsqrt_()
        rest = inner.index_select(1, place)[:, 0] - basis @ basis.index_select(0, place)[0]
        products = torch.mul(rest, scale, out=basis[:, k])
        along = along - products * (along.index_select(0, place) * scale)
        length = length - products.square()
    return indices
