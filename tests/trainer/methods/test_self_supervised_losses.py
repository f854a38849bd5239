"""Losses of BYOL, SimCLR, MoCo and DINO: against loops of scalars, and against lightly's modules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import DINOLoss, NegativeCosineSimilarity, NTXentLoss
from torch import Tensor

from trainer.methods.byol import byol_loss
from trainer.methods.dino import dino_loss
from trainer.methods.moco import info_nce
from trainer.methods.simclr import nt_xent

Rows = Sequence[Sequence[float]]
CLOSE: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-6}


def drawn(*shape: int, count: int = 4) -> list[Tensor]:
    return [torch.randn(*shape, dtype=torch.float64) for _ in range(count)]


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return dot(a, b) / math.sqrt(dot(a, a)) / math.sqrt(dot(b, b))


def softmax(values: Sequence[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in values]
    return [power / sum(powers) for power in powers]


def test_byol_is_the_papers() -> None:
    p1, p2, t1, t2 = drawn(5, 6)
    rows = zip(*(one.tolist() for one in (p1, p2, t1, t2)), strict=True)
    expected = [(2 - 2 * cosine(a, d)) / 2 + (2 - 2 * cosine(b, c)) / 2 for a, b, c, d in rows]
    assert byol_loss(p1, p2, t1, t2).tolist() == pytest.approx(expected, abs=1e-12)


def test_byol_is_lightlys_up_to_its_scale() -> None:
    p1, p2, t1, t2 = drawn(5, 6)
    theirs = NegativeCosineSimilarity()
    expected = 0.5 * (theirs(p1, t2) + theirs(p2, t1))
    torch.testing.assert_close((byol_loss(p1, p2, t1, t2).mean() - 2) / 2, expected, **CLOSE)


def test_simclr_is_the_papers() -> None:
    z1, z2 = drawn(4, 6, count=2)
    views: Rows = [*z1.tolist(), *z2.tolist()]

    def anchor(i: int, j: int) -> float:
        others = sum(math.exp(cosine(views[i], views[k]) / 0.3) for k in range(8) if k != i)
        return -math.log(math.exp(cosine(views[i], views[j]) / 0.3) / others)

    expected = [(anchor(i, i + 4) + anchor(i + 4, i)) / 2 for i in range(4)]
    assert nt_xent(z1, z2, 0.3).tolist() == pytest.approx(expected, abs=1e-12)


def test_simclr_is_lightlys() -> None:
    z1, z2 = drawn(7, 6, count=2)
    torch.testing.assert_close(nt_xent(z1, z2, 0.1).mean(), NTXentLoss(temperature=0.1)(z1, z2), **CLOSE)


def test_moco_is_the_papers() -> None:
    (q,), k, queue = (
        drawn(3, 6, count=1),
        *(F.normalize(one, dim=1) for one in (drawn(3, 6)[0], drawn(5, 6)[0])),
    )
    expected = []
    for query, key in zip(q.tolist(), k.tolist(), strict=True):
        positive = math.exp(cosine(query, key) / 0.2)
        negatives = sum(math.exp(cosine(query, other) / 0.2) for other in queue.tolist())
        expected.append(-math.log(positive / (positive + negatives)))
    assert info_nce(q, k, queue, 0.2).tolist() == pytest.approx(expected, abs=1e-12)


def test_moco_is_lightlys() -> None:
    theirs = NTXentLoss(temperature=0.2, memory_bank_size=(11, 6))
    queue = theirs.memory_bank.bank.clone()
    q, k = torch.randn(4, 6), F.normalize(torch.randn(4, 6), dim=1)
    torch.testing.assert_close(info_nce(q, k, queue, 0.2).mean(), theirs(q, k), **CLOSE)


def test_dino_is_the_papers() -> None:
    s1, s2, t1, t2 = drawn(3, 5)
    center = drawn(5)[0]

    def entropy(t: Sequence[float], s: Sequence[float]) -> float:
        meant = softmax([value - c for value, c in zip(t, center.tolist(), strict=True)], 0.04)
        return -sum(a * math.log(b) for a, b in zip(meant, softmax(s, 0.1), strict=True))

    rows = zip(*(one.tolist() for one in (s1, s2, t1, t2)), strict=True)
    expected = [(entropy(c, b) + entropy(d, a)) / 2 for a, b, c, d in rows]
    assert dino_loss(s1, s2, t1, t2, center, 0.1, 0.04).tolist() == pytest.approx(expected, rel=1e-12)


def test_dino_is_lightlys() -> None:
    s1, s2, t1, t2 = (one.float() for one in drawn(4, 9))
    theirs = DINOLoss(output_dim=9, teacher_temp=0.04, student_temp=0.1)
    theirs.center += torch.randn(9)
    found = dino_loss(s1, s2, t1, t2, theirs.center[0, 0].clone(), 0.1, 0.04)
    torch.testing.assert_close(found.mean(), theirs([t1, t2], [s1, s2]), rtol=1e-6, atol=1e-5)
