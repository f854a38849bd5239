"""The loss function around another: its value, and the statistics that go back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain_loops import Loop, Points
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pipeline import Mixture
from trainer import BudgetedLoader, RunError


def _one_batch(sampler: str) -> tuple[BudgetedLoader, DataLoader[tuple[Tensor, Tensor, int]]]:
    plain = DataLoader(Points(), batch_size=20)
    return BudgetedLoader(plain, sampler, epochs=4, budget=0.5), plain


def _by_class(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels, reduction="none")


WEIGHTS = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("criterion", "plain"),
    [
        (nn.CrossEntropyLoss(), nn.CrossEntropyLoss()),
        (nn.CrossEntropyLoss(label_smoothing=0.1), nn.CrossEntropyLoss(label_smoothing=0.1)),
        (nn.CrossEntropyLoss(weight=WEIGHTS), nn.CrossEntropyLoss(weight=WEIGHTS)),
        (F.cross_entropy, F.cross_entropy),
        (_by_class, F.cross_entropy),
    ],
)
def test_where_nothing_is_weighted_it_is_the_plain_loss(
    criterion: Callable[..., Tensor], plain: Callable[..., Tensor]
) -> None:
    loader, _ = _one_batch("uniform")
    ours = loader.criterion(criterion)
    for values, labels, _ in loader:
        outputs = values[:, :3].requires_grad_()
        loss = ours(outputs, labels)
        torch.testing.assert_close(loss, plain(outputs, labels), rtol=1e-12, atol=0)
        (ours_gradient,) = torch.autograd.grad(loss, outputs)
        (gradient,) = torch.autograd.grad(plain(outputs, labels), outputs)
        torch.testing.assert_close(ours_gradient, gradient, rtol=1e-12, atol=1e-15)


def test_targets_without_classes_have_a_loss_and_no_probability() -> None:
    loader, _ = _one_batch("infobatch")
    ours = loader.criterion(nn.BCEWithLogitsLoss())
    for values, labels, _ in loader:
        targets = F.one_hot(labels, 3).double()
        outputs = values[:, :3].requires_grad_()
        torch.testing.assert_close(
            ours(outputs, targets), F.binary_cross_entropy_with_logits(outputs, targets)
        )
    loader, _ = _one_batch("p_sgd")
    ours = loader.criterion(nn.BCEWithLogitsLoss())
    values, labels, _ = next(batches := iter(loader))
    with pytest.raises(RunError, match=r"needs p_true, from outputs .*: take a sampler that uses the loss"):
        ours(values[:, :3].requires_grad_(), F.one_hot(labels, 3).double())
    batches.close()  # type: ignore[attr-defined]


def test_a_loss_for_the_whole_batch_is_refused() -> None:
    loader, _ = _one_batch("infobatch")
    ours = loader.criterion(lambda outputs, labels: F.cross_entropy(outputs, labels))
    values, labels, _ = next(iter(loader))
    with pytest.raises(RunError, match="a loss per sample, 20 here; got shape"):
        ours(values[:, :3], labels)


def test_mixed_images_are_fed_back_by_their_constituents() -> None:
    loop = Loop("p_sgd", epochs=8)
    for values, labels, ids in loop.loader:
        partners = np.stack([np.arange(8), np.roll(np.arange(8), 1)], axis=1)
        coefficients = np.tile(np.array([0.7, 0.3], np.float32), (8, 1))
        outputs = loop.model(0.7 * values + 0.3 * values.roll(1, 0))
        loss = loop.criterion(outputs, labels, Mixture.of(partners, coefficients))
        expected = 0.7 * F.cross_entropy(outputs, labels) + 0.3 * F.cross_entropy(outputs, labels.roll(1))
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
        rows = loop.loader._feedback.drain(1).feedback
        p = torch.softmax(outputs.detach(), dim=1)
        assert rows.ids.tolist() == ids.numpy()[partners].ravel().tolist()
        assert rows.coefficient is not None
        assert rows.p_true is not None
        np.testing.assert_allclose(rows.coefficient, coefficients.ravel())
        # Each against its own label.
        np.testing.assert_allclose(rows.p_true[1::2], p.gather(1, labels.roll(1)[:, None])[:, 0], rtol=1e-6)
