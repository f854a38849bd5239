"""Commands on runs whose method takes batches of a further stream."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from penalized import Penalized
from rich.console import Console

from tools.profiling.components import Stages
from tools.profiling.whole import session_at, training_steps
from tools.run import Run as RunCommand
from trainer.config import Run
from trainer.data import open_data
from trainer.errors import RunError
from trainer.methods import METHODS
from trainer.parallel import World
from trainer.recipe import from_table


@pytest.fixture
def run(fashion: Path, tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of a few steps, whose stream is the tiny set."""
    monkeypatch.setitem(METHODS, "penalized", Penalized)
    table = {
        "data_dir": str(fashion),
        "runs_dir": str(tmp_path / "runs"),
        "name": "x",
        "model": {"name": "resnet8", "width": 4},
        "epochs": 1,
        "budget": 0.1,
        "batch_size": 16,
        "device": "cpu",
        "method": "penalized",
        "streams": {"unlabelled": {"data": str(tiny()), "ratio": 2.0}},
    }
    return from_table(table, where="here")


def test_a_profiled_step_takes_the_streams(run: Run, tmp_path: Path) -> None:
    data = open_data(run, World(), lambda *_: None)
    session = session_at(run, data, 0.5, tmp_path / "scratch")
    stages = Stages(session)
    try:
        seen = session.method.seen
        assert isinstance(seen, list)
        before = len(seen)
        for work in stages.works():
            work()
        assert len(seen) > before
        assert {len(ids) for ids in seen} == {32}
        next(training_steps(session))
    finally:
        stages.close()
        session.close()


def test_a_report_counts_what_steps_took_from_streams(run: Run) -> None:
    assert RunCommand(run).execute(Console(quiet=True)) == 0
    page = (run.runs_dir / "x" / "report.html").read_text()
    assert re.search(r"Of further streams, forwarded by steps</th>\s*<td[^>]*>256<", page)


def test_a_finished_run_tells_of_a_stream_that_changed(run: Run, tiny: Callable[..., Path]) -> None:
    assert RunCommand(run).execute(Console(quiet=True)) == 0
    changed = tiny(1)
    with pytest.raises(RunError, match=rf"{changed} has sha256 \w+; it was"):
        RunCommand(run).execute(Console(quiet=True))
