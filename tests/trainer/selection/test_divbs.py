"""divbs against Gram and Schmidt's method on gradients that are written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from trainer.selection import Candidates, Setting
from trainer.selection.divbs import Divbs, gradient_products, spanning


def gradients(outputs: torch.Tensor, labels: torch.Tensor, features: torch.Tensor) -> np.ndarray:
    """Last-layer gradients of each sample's cross-entropy by autograd, float64[n, C * d]."""
    rows = []
    for output, label, feature in zip(outputs.double(), labels, features.double(), strict=True):
        weight = torch.zeros(len(output), len(feature), dtype=torch.float64, requires_grad=True)
        # At these outputs: what the layer adds is 0, its gradient is not.
        loss = torch.nn.functional.cross_entropy(output + weight @ feature, label)
        loss.backward()
        rows.append(weight.grad.flatten().numpy())
    return np.array(rows)


def greedy(vectors: np.ndarray, count: int) -> list[int]:
    """Take the vector that most enlarges the projection of the mean, by least squares each time."""
    mean, taken = vectors.mean(axis=0), []  # type: ignore[var-annotated]
    for _ in range(count):
        gains = []
        for i in range(len(vectors)):
            if i in taken:
                gains.append(-1.0)
                continue
            basis, _ = np.linalg.qr(vectors[[*taken, i]].T)
            gains.append(float(((basis.T @ mean) ** 2).sum()))
        taken.append(int(np.argmax(gains)))
    return taken


def drawn(n: int, classes: int, d: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=generator)
    outputs, features = torch.randn(n, classes, generator=generator), torch.randn(n, d, generator=generator)
    return outputs, labels, features


def test_inner_products_are_those_of_the_gradients() -> None:
    given = drawn(9, 4, 5, seed=1)
    g = gradients(*given)
    np.testing.assert_allclose(gradient_products(*given).numpy(), g @ g.T, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_takes_what_enlarges_the_projection_of_the_mean_most(
    setting: Callable[..., Setting], pool: Callable[..., Candidates], seed: Any
) -> None:
    outputs, labels, features = drawn(20, 6, 7, seed)
    expected = greedy(gradients(outputs, labels, features), 10)
    shown = pool(outputs=outputs, labels=labels, features=features)
    assert Divbs().build(setting(10)).choose(shown).indices.tolist() == expected


def test_a_copy_is_not_taken_while_something_new_is_left() -> None:
    vectors = torch.tensor([[3.0, 0, 0], [3.0, 0, 0], [0, 2.0, 0], [3.0, 0, 0], [0, 0, 1.0]]).double()
    inner = vectors @ vectors.T
    assert spanning(inner, 3).tolist() == [0, 2, 4]
    assert spanning(inner, 5).tolist() == [0, 2, 4, 1, 3]


def test_gradients_of_0_are_taken_last() -> None:
    vectors = torch.tensor([[0.0, 0], [1.0, 0], [0, 0], [0, 0.5]]).double()
    assert spanning(vectors @ vectors.T, 4).tolist() == [1, 3, 0, 2]
