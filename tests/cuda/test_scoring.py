"""Scoring passes and compiled steps on the device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from trainer.config import Run
from trainer.inference.scorer import Folding, Scorer
from trainer.loop import train
from trainer.models.resnet import ResNet8
from trainer.run_folder import RunFolder
from trainer.session import Session
from trainer.watch import Silent


def _network(device: torch.device) -> nn.Module:
    model = ResNet8(width=4).build(classes=5)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(std=0.2)
            norm.running_var.uniform_(0.5, 2)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _images(device: torch.device) -> torch.Tensor:
    return torch.randn(4, 3, 32, 32).to(device, memory_format=torch.channels_last)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_folded_pass_is_the_networks_own(mode: Literal["eval", "train"], device: torch.device) -> None:
    model, images = _network(device), _images(device)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    products = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        scored = Scorer(model, mode, bf16=False)(images)
        with torch.no_grad():
            own = model.train(mode == "train")(images)
    finally:
        torch.backends.cudnn.allow_tf32 = products
    torch.testing.assert_close(scored, own, rtol=1e-4, atol=1e-4)
    if mode == "eval":
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert len(Folding(model)) > 0


def test_features_of_a_pass_outlive_the_next_one(device: torch.device) -> None:
    scorer = Scorer(_network(device), "eval", bf16=False, keeps_features=True)
    scorer(_images(device))
    first = scorer.features
    assert first is not None
    kept = first.clone()
    scorer(_images(device))
    assert torch.equal(first, kept)


def test_nothing_is_compiled_once_training_has_begun(
    gpu: torch.device, run_of: Callable[..., Run], tmp_path: Path
) -> None:
    from torch._dynamo.utils import counters

    class Watcher(Silent):
        graphs = 0

        def started(self, session: Session, resumed: bool) -> None:
            self.graphs = counters["stats"]["unique_graphs"]

    entries: dict[str, Any] = {"selection": {"name": "foms", "start": 0.0}, "compile": True}
    run, watcher = run_of(gpu, **entries), Watcher()
    train(run, RunFolder(tmp_path / "x", run), watcher=watcher).close()
    assert watcher.graphs > 0
    assert counters["stats"]["unique_graphs"] == watcher.graphs
