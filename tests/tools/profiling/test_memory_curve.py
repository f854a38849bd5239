"""The bytes of a step's tensors over its operations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tools.profiling.components import Stages
from tools.profiling.memory_curve import MOST_POINTS, Curve, curve_of
from tools.profiling.whole import session_at
from trainer.data import open_data
from trainer.parallel import World
from trainer.recipe import from_table
from trainer.session import Session


@pytest.fixture
def session(fashion: Path, tmp_path: Path) -> Session:
    table = {
        "data_dir": str(fashion),
        "model": {"name": "resnet8", "width": 4},
        "batch_size": 16,
        "augment": "standard",
        "device": "cpu",
        "precision": "fp32",
    }
    run = from_table(table, where="here")
    data = open_data(run, World(), lambda *_: None)
    return session_at(run, data, 0.5, tmp_path / "run")


@pytest.fixture
def curve(session: Session) -> Curve:
    stages = Stages(session)
    try:
        stages.cached()
        made = curve_of(session, stages.cached)
    finally:
        stages.close()
        session.close()
    assert made is not None
    return made


def test_tensors_of_a_step_are_counted_by_owner(session: Session, curve: Curve) -> None:
    owners = {name: np.array(values) for name, values in curve.owners.items()}
    trained = sum(weight.nbytes for weight in session.method.parameters())
    averages = sum(buffer.nbytes for buffer in session.method.buffers())
    assert (owners["weights"] == trained + averages).all()
    # Momentum, since the first step; gradients, of the step before until the backward pass made its own.
    assert (owners["optimizer"] == trained).all()
    assert owners["gradients"][[0, -1]].tolist() == [trained, trained]
    assert owners["gradients"].max() == trained
    assert owners["gradients"].min() < trained
    # Activations grow up to the loss, and go by the end of the backward pass.
    phases = dict(curve.phases)
    at = np.array(curve.at)
    backward = np.searchsorted(at, phases["backward"])
    optimize = np.searchsorted(at, phases["optimize"])
    assert owners["activations"].max() == pytest.approx(owners["activations"][backward], rel=0.1)
    # The stem's output alone: 16 images of 4 channels at 28 pixels, in float32.
    assert owners["activations"].max() > 5 * 16 * 4 * 28 * 28 * 4
    assert owners["activations"][optimize] < 0.1 * owners["activations"].max()


def test_phases_of_a_step_follow_each_other(curve: Curve) -> None:
    names = [name for name, _ in curve.phases]
    assert names == sorted(names, key=["augment", "forward", "backward", "optimize", "feedback"].index)
    begins = [first for _, first in curve.phases]
    assert begins == sorted(begins)
    assert begins[0] == 0
    assert begins[-1] < curve.operations
    assert len(curve.at) <= MOST_POINTS
    assert len({len(values) for values in curve.owners.values()} | {len(curve.at)}) == 1


def test_tensors_of_compiled_steps_are_not_seen(session: Session) -> None:
    session.run = replace(session.run, compile=True)
    try:
        assert curve_of(session, lambda: pytest.fail("a compiled step was taken apart")) is None
    finally:
        session.close()
