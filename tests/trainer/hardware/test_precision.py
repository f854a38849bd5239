"""Precision: in double nothing on the way of a step is rounded to single; in others losses are single."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainer.config import Run
from trainer.hardware.precision import at_least_float32
from trainer.session import Session


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_losses_are_in_single_precision_at_least(given: torch.dtype, kept: torch.dtype) -> None:
    assert at_least_float32(torch.ones(3, dtype=given)).dtype == kept


SMALL: dict[str, Any] = {
    "model": {"name": "resnet8", "width": 2},
    "epochs": 4,
    "budget": 0.5,
    "batch_size": 16,
    "log_every": 1,
}
SMALLER = {"name": "impon", "bank": 32}
SOONER = {"name": "selective_backprop", "start": 0.1, "keep": 0.5}


@pytest.mark.parametrize(
    ("selection", "method"),
    [
        ("foms", "supervised"),
        (SMALLER, "focal"),
        ("divbs", "label_smoothing"),
        ("selective_backprop", "focal"),
    ],
)
def test_in_double_precision_everything_is(
    recipe: Callable[..., Run],
    train_run: Callable[..., Session],
    watch: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tiny: Callable[..., Path],
    selection: str | dict[str, Any],
    method: str,
) -> None:
    seen: set[torch.dtype] = set()
    for kind in (nn.Conv2d, nn.BatchNorm2d, nn.Linear):
        forward = kind.forward

        def recording(module: Any, given: torch.Tensor, forward: Any = forward) -> torch.Tensor:
            made = forward(module, given)
            if isinstance(given, torch.Tensor) and given.device.type == "cpu":  # not while FLOPs are counted
                seen.update((given.dtype, made.dtype))
            return made

        monkeypatch.setattr(kind, "forward", recording)
    watcher = watch()
    parts = {"selection": selection, "method": method, "augment": ["mixup"]}
    session = train_run(recipe(data=str(tiny()), precision="fp64", **parts, **SMALL), watcher)
    assert seen == {torch.float64}
    assert {value.dtype for value in session.encoder.parameters()} == {torch.float64}
    moments = [state["momentum_buffer"].dtype for state in session.step.optimizer.state.values()]
    assert set(moments) == {torch.float64}
    assert torch.get_default_dtype() == torch.float32
    # A number of single precision has 24 bits: what is in double has more, almost surely.
    assert all(loss != float(torch.tensor(loss, dtype=torch.float32)) for loss in watcher.losses)
