"""``trainer profile`` of a method that takes batches of a further stream."""

from __future__ import annotations

from pathlib import Path

import pytest
from penalized import Penalized

from tools.profiling.components import Stages
from tools.profiling.whole import session_at, training_steps
from trainer.data import open_data
from trainer.methods import METHODS
from trainer.parallel import World
from trainer.recipe import from_table


def test_a_method_takes_its_streams(fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "penalized", Penalized)
    table = {
        "data_dir": str(fashion),
        "model": {"name": "resnet8", "width": 1},
        "batch_size": 16,
        "device": "cpu",
        "method": "penalized",
        "streams": {"unlabelled": {"data": "fashion_mnist", "ratio": 2.0}},
    }
    run = from_table(table, where="here")
    data = open_data(run, World(), lambda *_: None)
    session = session_at(run, data, 0.5, tmp_path / "run")
    stages = Stages(session)
    try:
        seen = session.method.seen
        assert isinstance(seen, list)
        for work in stages.works():
            before = len(seen)
            work()
            assert all(len(ids) == 32 for ids in seen[before:])
        assert len(seen) > 0
        next(training_steps(session))
    finally:
        stages.close()
        session.close()
