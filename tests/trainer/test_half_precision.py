"""Half precision: scaled losses, steps that overflow, and runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from trainer.config import Run
from trainer.errors import InterruptedRunError
from trainer.hardware.precision import autocast
from trainer.optimizers import OPTIMIZERS
from trainer.session import Session
from trainer.updates.update import Update


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("clip_norm", [None, 0.25])
def test_scaled_steps_are_the_others_and_overflows_are_left_out(name: str, clip_norm: float | None) -> None:
    ends = []
    for scaled in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
        optimizer = OPTIMIZERS[name]().build(tuple(net.named_parameters()))
        # A power of two: gradients of scaled losses, divided by it, are the same bit for bit.
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10) if scaled else None
        update = Update(optimizer, clip_norm, scaler=scaler)
        images = torch.randn(6, 4)
        for step in range(4):
            optimizer.zero_grad()
            loss = net(images).square().mean()
            before = [parameter.detach().clone() for parameter in net.parameters()]
            if scaler is not None and step == 2:
                update.backward(loss * float("inf"))
                update.step()
                assert scaler.get_scale() == 2.0**9
                assert all(torch.equal(*pair) for pair in zip(before, net.parameters(), strict=True))
                optimizer.zero_grad()
                loss = net(images).square().mean()
            update.backward(loss)
            update.step()
            assert not all(torch.equal(*pair) for pair in zip(before, net.parameters(), strict=True))
        ends.append([parameter.detach() for parameter in net.parameters()])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_half_precision_is_that_of_the_forward_pass() -> None:
    net, images = nn.Linear(4, 3), torch.randn(2, 4)
    with autocast(torch.device("cpu"), False, fp16=True):
        assert net(images).dtype == torch.float16


def test_a_run_in_half_precision_keeps_its_scale(
    recipe: Callable[..., Run], train_run: Callable[..., Session], watch: Callable[..., Any]
) -> None:
    small: dict[str, Any] = {"model": {"name": "resnet8", "width": 4}, "epochs": 1, "budget": 0.25}
    entries = {**small, "precision": "fp16", "log_every": 1, "threads": 1, "clip_norm": 1.0, "ema": 0.9}
    whole = train_run(recipe(**entries, name="whole"), watcher := watch())
    assert whole.precision == "fp16"
    assert watcher.losses[-1] < watcher.losses[0]
    with pytest.raises(InterruptedRunError):
        train_run(recipe(**entries, name="stopped"), watch(stop_at=3))
    resumed = train_run(recipe(**entries, name="stopped"))
    assert resumed.fingerprint() == whole.fingerprint()
    scalers = [session.step.update.scaler for session in (whole, resumed) if session.step.update is not None]
    states = [scaler.state_dict() for scaler in scalers if scaler is not None]
    assert len(states) == 2
    assert states[0] == states[1]
