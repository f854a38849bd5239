"""Training on the device: losses near the CPU's, and runs that resume, bit for bit where kernels repeat."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.config import Run
from trainer.errors import InterruptedRunError
from trainer.loop import train
from trainer.run_folder import RunFolder
from trainer.session import Session
from trainer.watch import Silent

METHODS: dict[str, dict[str, Any]] = {
    "supervised": {},
    "ordered_sgd": {"selection": "ordered_sgd"},
    "foms": {"selection": {"name": "foms", "start": 0.0}},
    "p_sgd": {"sampler": "p_sgd", "augment": ["ricap"]},
    "mixup": {"augment": ["mixup"]},
    "focal": {"method": "focal"},
    "label_smoothing": {"method": "label_smoothing"},
}
"""Steps of several kinds, by a recipe's entries."""

_NEAR = 1e-3
"""Relative: float32 sums in other orders, over some steps."""


class Stopping(Silent):
    """A watcher that keeps losses, and stops the run at a step as Ctrl-C does."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.losses: list[float] = []
        self.stop_at = stop_at

    def stepped(self, session: Session, loss: float, rate: float) -> None:
        self.losses.append(loss)
        if session.ledger.steps == self.stop_at:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """Runs set how a GPU computes for the whole process."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled()
    yield
    cudnn.benchmark, cudnn.deterministic = before[:2]
    torch.use_deterministic_algorithms(before[2])


def _losses(run: Run, folder: Path) -> list[float]:
    watcher = Stopping()
    with train(run, RunFolder(folder, run), watcher=watcher):
        return watcher.losses


@pytest.mark.parametrize("name", METHODS)
def test_losses_of_float32_are_near_the_cpus(
    name: str, gpu: torch.device, run_of: Callable[..., Run], tmp_path: Path
) -> None:
    """TF32 is off with --precision fp32. The learning rate is low, so that roundings don't grow."""
    entries = {**METHODS[name], "optimizer": {"name": "sgd", "lr": 0.01}, "log_every": 1}
    here = _losses(run_of(torch.device("cpu"), **entries), tmp_path / "cpu")
    there = _losses(run_of(gpu, **entries), tmp_path / "gpu")
    assert len(here) == len(there) > 10
    np.testing.assert_allclose(there, here, rtol=_NEAR)


def test_bf16_is_chosen_where_the_gpu_has_it(
    gpu: torch.device, run_of: Callable[..., Run], tmp_path: Path
) -> None:
    run = run_of(gpu, precision="auto", epochs=16, augment=["none"], log_every=1)
    watcher = Stopping()
    with train(run, RunFolder(tmp_path / "x", run), watcher=watcher) as session:
        assert session.bf16 == (torch.cuda.get_device_capability(gpu) >= (8, 0))
    assert np.mean(watcher.losses[-8:]) < np.mean(watcher.losses[:8])


@pytest.mark.parametrize("entries", [{"sampler": "p_sgd", "augment": ["ricap"]}, {"selection": "greedy"}])
def test_a_run_that_resumes_ends_as_one_that_was_not_stopped(
    entries: dict[str, Any], device: torch.device, run_of: Callable[..., Run], tmp_path: Path
) -> None:
    """Bit for bit with --deterministic: optimizer, sampler tables, random numbers of dropout."""
    run = run_of(device, **entries, deterministic=True, log_every=2)
    with train(run, RunFolder(tmp_path / "whole", run)) as whole:
        weights, seen = whole.fingerprint(), whole.samples.times_seen.copy()
    folder = RunFolder(tmp_path / "parts", run)
    with pytest.raises(InterruptedRunError):
        train(run, folder, watcher=Stopping(stop_at=8))
    with train(run, folder) as resumed:
        assert resumed.fingerprint() == weights
        assert (resumed.samples.times_seen == seen).all()
        moved = resumed.step.optimizer.state[next(iter(resumed.method.parameters()))]
        assert all(value.device == device for value in moved.values() if isinstance(value, torch.Tensor))


def test_the_tables_of_a_checkpoint_never_reach_the_device(
    gpu: torch.device, run_of: Callable[..., Run], tmp_path: Path
) -> None:
    from trainer import checkpoint

    run = run_of(gpu, sampler="p_sgd")
    folder = RunFolder(tmp_path / "x", run)
    train(run, folder).close()
    before = torch.cuda.memory_allocated(gpu)
    checkpoint.load(folder.checkpoint)
    assert torch.cuda.memory_allocated(gpu) == before
