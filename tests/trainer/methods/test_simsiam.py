"""SimSiam's loss against scalars and lightly's module, and the measure of collapse."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor

from trainer.methods.embedding import spread
from trainer.methods.simsiam import SimSiam, simsiam_loss


def drawn(*shape: int) -> list[Tensor]:
    return [torch.randn(*shape, dtype=torch.float64) for _ in range(4)]


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(x * x for x in b))


def test_the_loss_is_the_papers() -> None:
    p1, p2, z1, z2 = drawn(5, 7)
    found = simsiam_loss(p1, p2, z1, z2)
    rows = zip(*(one.tolist() for one in (p1, p2, z1, z2)), strict=True)
    expected = [-cosine(a, d) / 2 - cosine(b, c) / 2 for a, b, c, d in rows]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_the_loss_is_lightlys() -> None:
    p1, p2, z1, z2 = drawn(6, 9)
    theirs = NegativeCosineSimilarity()
    expected = 0.5 * (theirs(p1, z2) + theirs(p2, z1))
    torch.testing.assert_close(simsiam_loss(p1, p2, z1, z2).mean(), expected, rtol=1e-6, atol=1e-6)


def test_embeddings_get_no_gradient() -> None:
    p1, p2, z1, z2 = (one.requires_grad_() for one in drawn(3, 4))
    simsiam_loss(p1, p2, z1, z2).sum().backward()
    assert p1.grad is not None
    assert p2.grad is not None
    assert z1.grad is None
    assert z2.grad is None


def test_spread_is_1_on_the_whole_sphere_and_0_at_one_point() -> None:
    torch.manual_seed(0)
    assert spread(torch.randn(4000, 64)).item() == pytest.approx(1, abs=0.01)
    assert spread(torch.ones(10, 64)).item() == pytest.approx(0, abs=1e-6)
    z = torch.tensor([[3.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    # Unit vectors (1, 0) and (0, 1): a standard deviation of 1/2 in both dimensions.
    assert spread(z).item() == pytest.approx(0.5 * math.sqrt(2))


@pytest.mark.parametrize("option", ["hidden", "out", "bottleneck"])
def test_widths_are_checked(option: str) -> None:
    with pytest.raises(ValueError, match=f"method.{option} must be at least 1; got 0"):
        SimSiam(**{option: 0})  # type: ignore[arg-type]
