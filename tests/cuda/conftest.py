"""Fixtures of what only a GPU can show, each test with the same body on the CPU, where that is possible.

Tests on the CPU keep the bodies in order; those marked cuda are skipped where there is no GPU, and run by
``tools/gpu-check`` where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.config import Run
from trainer.recipe import from_table

ON_CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ],
)


@pytest.fixture(params=["cpu", ON_CUDA])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Both kinds of device, one after the other."""
    name: str = request.param
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device(name)


@pytest.fixture(params=[ON_CUDA])
def gpu(request: pytest.FixtureRequest) -> torch.device:
    """The GPU, for what has no counterpart on a CPU."""
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture
def run_of(tiny_directory: Path, tmp_path: Path) -> Callable[..., Run]:
    """Make a run of 16 steps on the tiny set from a recipe's entries."""

    def make(device: torch.device, **entries: Any) -> Run:
        table = {
            "data": str(tiny_directory / "tiny" / "train.beton"),
            "runs_dir": str(tmp_path / "runs"),
            "model": {"name": "resnet8", "width": 4},
            "epochs": 4,
            "budget": 0.5,
            "batch_size": 16,
            "log_every": 4,
            "precision": "fp32",
            "device": str(device),
            **entries,
        }
        return from_table(table, where="test")

    return make
