"""Every method: its losses against the definition, and a whole step that never waits for the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline import Batch
from trainer.ledger import Ledger
from trainer.methods import METHODS
from trainer.models import MODELS
from trainer.step import Step, mixed_loss


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("constituents", [1, 2, 4])
def test_losses_and_gradients_are_those_of_the_mixed_label(name: str, constituents: int) -> None:
    torch.manual_seed(0)
    method = METHODS[name]()
    outputs = torch.randn(5, 7, dtype=torch.float32, requires_grad=True)
    labels = torch.randint(0, 7, (5, constituents))
    shares = torch.rand(5, constituents)
    shares /= shares.sum(dim=1, keepdim=True)
    weights = torch.rand(5)
    losses = method.losses(outputs, labels)
    mixed_loss(losses.per_owner, shares, weights).backward()
    assert outputs.grad is not None
    # By hand: cross-entropy against the label that is mixed as the image is.
    twin = outputs.detach().double().requires_grad_()
    target = torch.zeros(5, 7, dtype=torch.float64)
    for i in range(5):
        for j in range(constituents):
            target[i, labels[i, j]] += shares[i, j]
    p = torch.exp(twin) / torch.exp(twin).sum(dim=1, keepdim=True)
    loss = (-(target * torch.log(p)).sum(dim=1) * weights).mean()
    loss.backward()
    assert twin.grad is not None
    torch.testing.assert_close(outputs.grad.double(), twin.grad, rtol=1e-5, atol=1e-7)
    by_label = p.detach().gather(1, labels).float()
    torch.testing.assert_close(losses.p_true, by_label, rtol=1e-5, atol=1e-7)
    assert not losses.p_true.requires_grad
    for i in range(5):
        for j in range(constituents):
            error = p[i].detach().clone()
            error[labels[i, j]] -= 1
            assert losses.error[i, j].item() == pytest.approx(error.norm().item(), rel=1e-4)
    assert not losses.error.requires_grad


@pytest.mark.parametrize("name", METHODS)
def test_a_whole_step_never_waits_for_the_device(name: str) -> None:
    """On the meta device a wait (.item(), nonzero, a boolean index, .cpu()) and a CPU operand raise."""
    device = torch.device("meta")
    with device:
        model = MODELS["resnet8"](width=4).build(classes=10)  # type: ignore[call-arg]
        images = torch.empty(6, 3, 32, 32)
        labels = torch.zeros(6, 2, dtype=torch.int64)
        shares, weights = torch.empty(6, 2), torch.empty(6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    ids = np.arange(6)
    owners, host_shares = np.stack([ids, ids], axis=1), np.full((6, 2), 0.5, np.float32)
    batch = Batch(0, 0, ids, images, labels, shares, owners, host_shares, weights)
    step = Step(model, METHODS[name](), optimizer, False, Ledger(device))
    losses = step(batch)
    assert losses.per_owner.shape == (6, 2)
    assert losses.per_owner.device.type == "meta"


def test_the_check_notices_a_wait() -> None:
    with pytest.raises(Exception, match=r"[Mm]eta"):
        torch.ones(3, device="meta").sum().item()
