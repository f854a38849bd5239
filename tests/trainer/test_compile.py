"""torch.compile: every resolution is compiled before the clock starts, and nothing afterwards."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from trainer.config import Run
from trainer.models import MODELS
from trainer.models.resnet import BasicBlock, ResNet
from trainer.session import Session


@dataclass(frozen=True)
class Stem:
    """A network without blocks: every kernel takes the compiler seconds."""

    def build(self, classes: int) -> ResNet:
        return ResNet(BasicBlock, (), 4, classes)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_every_resolution_is_compiled_before_the_clock_starts(
    recipe: Callable[..., Run],
    train_run: Callable[..., Session],
    watch: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(MODELS, "stem", Stem)

    class Compiled:
        def __init__(self, watcher: Any) -> None:
            self._watcher = watcher
            self.graphs = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._watcher, name)

        def started(self, session: Session, resumed: bool) -> None:
            self.graphs = counters["stats"]["unique_graphs"]
            self._watcher.started(session, resumed)

    before = counters["stats"]["unique_graphs"]
    watcher = Compiled(watch())
    run = recipe(
        compile=True,
        resolution={"name": "progressive", "lowest": 14, "step": 14},
        selection={"name": "foms", "start": 0.0},
        epochs=2,
        budget=0.5,
        threads=1,
        accumulate=2,
        clip_norm=1.0,
        ema=0.9,
    )
    session = train_run(replace(run, model=Stem()), watcher)
    assert set(session.ledger.trained_at) == {14, 28}
    # Of each resolution a step and a scoring pass.
    assert watcher.graphs - before == 4
    assert counters["stats"]["unique_graphs"] == watcher.graphs
    assert session.ledger.compile_seconds > 0
    # Micro-batches, clipping and an average of the weights are made around the compiled steps.
    assert all(map(math.isfinite, watcher.losses))
    averaged = dict(session.network.named_parameters())
    for name, weight in session.encoder.named_parameters():
        assert torch.isfinite(averaged[name]).all()
        assert not torch.equal(averaged[name], weight)
