"""Fixtures of the service's tests."""

from __future__ import annotations

import functools
import os
import subprocess

import numpy as np
import pytest

from samplers import Plan


@pytest.fixture(autouse=True)
def _quick_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    # Spares the processes started here the compilation; their orders are the same (a contract).
    if "many_rows" not in request.node.name:
        started = functools.partial(subprocess.Popen, env={**os.environ, "NUMBA_DISABLE_JIT": "1"})
        monkeypatch.setattr(subprocess, "Popen", started)


@pytest.fixture
def plan() -> Plan:
    return Plan(90, epochs=8, budget=0.5, batch_size=8, seed=4, labels=np.arange(90) % 3)
