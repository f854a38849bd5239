"""Whole steps on the device: none waits for it, and the account's phases come to the clock."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from tools.gpu.checks.waits import waits_raise
from trainer import open_session
from trainer.config import Run
from trainer.run_folder import RunFolder
from trainer.selection import SELECTIONS
from trainer.session import Session
from trainer.warmup import _rehearse_updates

_WAITING = ("selective_backprop", "rho_loss", "hard_augment", "gradient_norm")
"""Declared waits, and what needs another run or other views."""

_STEPS = 5
_LONG: dict[str, Any] = {"budget": 1.0, "log_every": 1000}
"""A round of eight steps, without the log's."""


def _from_the_start(name: str) -> dict[str, Any]:
    """Return a selection that is on at once, from as few candidates as the set has."""
    known = {field.name for field in fields(SELECTIONS[name])}  # type: ignore[arg-type]
    return {"name": name, **{key: value for key, value in _OPTIONS.items() if key in known}}


_OPTIONS = {"start": 0.0, "end": 1.0, "bank": 32}

SETTINGS: dict[str, dict[str, Any]] = {
    **{
        f"selection {name}": {"selection": _from_the_start(name)}
        for name in sorted(set(SELECTIONS) - set(_WAITING))
    },
    "randaugment": {"augment": ["randaugment", "ricap"]},
    "ssl": {"augment": ["ssl"]},
    "multi": {"augment": ["multi"], "multiply": 2},
    "ffcv": {"engine": "ffcv"},
    "micro-batches": {"accumulate": 2, "clip_norm": 1.0, "ema": 0.999},
    "adamw": {"optimizer": "adamw"},
    "muon": {"optimizer": "muon"},
}


@pytest.fixture
def opened(run_of: Callable[..., Run], tmp_path: Path) -> Callable[..., Session]:
    def open_(device: torch.device, **entries: Any) -> Session:
        run = run_of(device, **entries)
        return open_session(run, RunFolder(tmp_path / "run", run))

    return open_


def _check_steps(session: Session, device: torch.device) -> None:
    with session:
        for current in session.rounds():
            steps = session.steps(current)
            next(steps)
            with waits_raise(device.type):
                for _ in range(_STEPS):
                    next(steps)
            session.collect()
            assert session.ledger.steps >= _STEPS
            return


@pytest.mark.parametrize("name", ["selection foms", "randaugment"])
def test_steps_are_made_without_the_check(name: str, opened: Callable[..., Session]) -> None:
    """On a CPU, where nothing waits: the next test's body."""
    device = torch.device("cpu")
    _check_steps(opened(device, **_LONG, **SETTINGS[name]), device)


@pytest.mark.parametrize("name", SETTINGS)
def test_no_step_waits_for_the_device(name: str, gpu: torch.device, opened: Callable[..., Session]) -> None:
    if name == "ffcv":
        pytest.importorskip("ffcv")
    _check_steps(opened(gpu, **_LONG, **SETTINGS[name]), gpu)


def test_phases_come_to_no_more_than_the_clock(device: torch.device, opened: Callable[..., Session]) -> None:
    """Within 5%: events and the host's clock aren't one."""
    with opened(device, log_every=4, epochs=8) as session:
        session.ledger.start_clock()
        session.ledger.seconds = dict.fromkeys(session.ledger.seconds, 0.0)
        for current in session.rounds():
            for _ in session.steps(current):
                pass
            session.finish(current)
        session.collect()
        session.ledger.settle()
        seconds, clock = dict(session.ledger.seconds), session.ledger.train_seconds
        assert 0 < sum(seconds.values()) <= 1.05 * clock
        session.ledger.settle()
        again = session.ledger.seconds
        assert all(again[name] == pytest.approx(taken, abs=1e-3) for name, taken in seconds.items())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars", "muon"])
def test_an_update_is_rehearsed_without_a_trace(
    optimizer: str, device: torch.device, opened: Callable[..., Session]
) -> None:
    """Before the first step and, as where a run resumes, with a state."""
    with opened(device, optimizer=optimizer) as session:
        # On a GPU the warm-up has rehearsed one already.
        assert not session.step.optimizer.state
        steps = session.steps(next(session.rounds()))
        for _ in range(2):
            weights = {name: value.clone() for name, value in session.method.state_dict().items()}
            before = copy.deepcopy(session.step.optimizer.state_dict())
            for parameter in session.method.parameters():
                parameter.grad = torch.ones_like(parameter)
            _rehearse_updates(session)
            after = session.step.optimizer.state_dict()
            assert before["param_groups"] == after["param_groups"]
            torch.testing.assert_close(after["state"], before["state"], rtol=0, atol=0)
            session.method.load_state_dict(weights)
            next(steps)
