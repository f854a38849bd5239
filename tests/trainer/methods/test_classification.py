"""Every classification method: losses against the definition, and steps that never wait for the device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from classifiers import CLASSIFIERS
from torch import Tensor, nn

from pipeline import Batch, Mixture
from trainer.account import Ledger
from trainer.errors import RunError
from trainer.methods import METHODS, Method
from trainer.models.resnet import ResNet8
from trainer.step import Step, mixed_loss

DEFINITIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "supervised": lambda p, y: -torch.log(p[y]),
    "focal": lambda p, y: -((1 - p[y]) ** 2) * torch.log(p[y]),
    "label_smoothing": lambda p, y: -0.9 * torch.log(p[y]) - 0.1 * torch.log(p).mean(),
    "balanced": lambda p, y: -torch.log(p[y]),
}
"""Each method's loss at its defaults, of a sample's probabilities and label; classes come equally often."""


def made(name: str, **options: Any) -> Method:
    return METHODS[name](**options).build(nn.Identity())


def drawn(n: int, constituents: int) -> tuple[Tensor, Tensor, Mixture]:
    generator = torch.Generator().manual_seed(10 * n + constituents)
    labels = torch.randint(0, 7, (n, constituents), generator=generator)
    coefficients = torch.rand(n, constituents, generator=generator)
    outputs = torch.randn(n, 7, generator=generator)
    coefficients /= coefficients.sum(dim=1, keepdim=True)
    partners = np.tile(np.arange(n)[:, None], (1, constituents))
    return outputs.requires_grad_(), labels, Mixture.of(partners, coefficients.numpy())


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("constituents", [1, 2, 4])
def test_losses_and_gradients_are_those_of_the_mixed_label(name: str, constituents: int) -> None:
    outputs, labels, mixture = drawn(5, constituents)
    weights = torch.rand(5, constituents, generator=torch.Generator().manual_seed(0))
    losses = made(name).losses(outputs, labels)
    mixed_loss(losses.loss, mixture, weights).backward()
    # By hand: each image's losses against its labels, mixed as the image is.
    twin = outputs.detach().double().requires_grad_()
    p = torch.exp(twin) / torch.exp(twin).sum(dim=1, keepdim=True)
    rows = [[DEFINITIONS[name](p[i], int(y)) for y in labels[i]] for i in range(5)]
    by_hand = torch.stack([torch.stack(row) for row in rows])
    (by_hand * mixture.device_coefficients * weights).sum(dim=1).mean().backward()
    assert outputs.grad is not None
    assert twin.grad is not None
    torch.testing.assert_close(losses.loss.double(), by_hand, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(outputs.grad.double(), twin.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("constituents", [1, 3])
def test_predictions_are_described_alike_by_every_method(name: str, constituents: int) -> None:
    outputs, labels, _ = drawn(6, constituents)
    losses = made(name).losses(outputs, labels)
    p = torch.softmax(outputs.detach().double(), dim=1)
    torch.testing.assert_close(losses.p_true, p.gather(1, labels).float(), rtol=1e-5, atol=1e-7)
    for i in range(6):
        for j in range(constituents):
            error = p[i].clone()
            error[labels[i, j]] -= 1
            assert losses.error[i, j].item() == pytest.approx(error.norm().item(), rel=1e-4)  # type: ignore[index]
            assert losses.correct[i, j].item() == (p[i].argmax() == labels[i, j]).item()  # type: ignore[index]
    assert losses.correct.dtype == torch.bool
    assert losses.correct.any()
    assert not losses.correct.all()
    assert not losses.p_true.requires_grad
    assert not losses.error.requires_grad


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_is_computed_in_float32_and_stays_finite_at_the_extremes(name: str) -> None:
    outputs = torch.tensor([[200.0, -200.0], [-200.0, 200.0], [0.0, 0.0]], dtype=torch.bfloat16)
    outputs.requires_grad_()
    losses = made(name).losses(outputs, torch.zeros(3, 1, dtype=torch.int64))
    losses.loss.sum().backward()
    assert losses.loss.dtype == torch.float32
    for values in (losses.loss, losses.p_true, losses.error, outputs.grad):
        assert values is not None
        assert torch.isfinite(values).all()


@pytest.mark.parametrize("eps", [0.0, 0.1, 0.4])
def test_label_smoothing_is_torchs_own(eps: float) -> None:
    outputs, labels, _ = drawn(8, 1)
    losses = made("label_smoothing", eps=eps).losses(outputs, labels)
    theirs = torch.nn.functional.cross_entropy(outputs, labels[:, 0], label_smoothing=eps, reduction="none")
    torch.testing.assert_close(losses.loss[:, 0], theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 5.0])
def test_focal_follows_its_gamma(gamma: float) -> None:
    outputs, labels, _ = drawn(8, 2)
    losses = made("focal", gamma=gamma).losses(outputs, labels)
    p = torch.softmax(outputs.detach().double(), dim=1).gather(1, labels)
    torch.testing.assert_close(losses.loss.double(), -((1 - p) ** gamma) * p.log(), rtol=1e-5, atol=1e-7)


def test_focal_has_a_gradient_where_the_prediction_is_certain() -> None:
    outputs = torch.tensor([[200.0, -200.0]], requires_grad=True)
    made("focal", gamma=0.5).losses(outputs, torch.zeros(1, 1, dtype=torch.int64)).loss.sum().backward()
    assert outputs.grad is not None
    assert torch.equal(outputs.grad, torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("focal", {"gamma": -1.0}, "method.gamma must be at least 0 and finite; got -1"),
        ("focal", {"gamma": float("nan")}, "method.gamma must be at least 0"),
        ("label_smoothing", {"eps": 1.0}, "method.eps must be at least 0 and below 1; got 1"),
        ("label_smoothing", {"eps": -0.1}, "method.eps must be at least 0"),
    ],
)
def test_options_that_cannot_work_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        METHODS[name](**options)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_whole_step_never_waits_for_the_device(name: str) -> None:
    """On the meta device a wait (.item(), nonzero, a boolean index, .cpu()) and a CPU operand raise."""
    device = torch.device("meta")
    with device:
        model = ResNet8(width=4).build(classes=10)
        images = torch.empty(6, 3, 32, 32)
        labels, weights = torch.zeros(6, dtype=torch.int64), torch.empty(6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    ids = np.arange(6)
    mixture = Mixture.of(np.stack([ids, ids], axis=1), np.full((6, 2), 0.5, np.float32), device)
    batch = Batch(ids, (images,), {"label": labels}, mixture, weights)
    method = METHODS[name]().build(model)
    step = Step(method, method, optimizer, nullcontext(), Ledger(device))
    losses = step(batch, progress=0.5)
    assert losses.loss.shape == (6, 2)
    assert losses.loss.device.type == "meta"


def test_the_check_notices_a_wait() -> None:
    with pytest.raises(Exception, match=r"[Mm]eta"):
        torch.ones(3, device="meta").sum().item()
