"""Settings that may help: which are tried first, and what is said of those that aren't tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from planted import profiled

from tools.profiling.changes import changes, left_out
from tools.profiling.finding import Measured
from tools.profiling.measuring import Profiled
from trainer.session import Session


@pytest.fixture(scope="module")
def found(fashion: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Profiled]:
    """The profile of a run, for which two threads are then set."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    made = profiled(fashion, tmp_path_factory.mktemp("profiled"))
    torch.set_num_threads(2)
    yield made
    torch.set_num_threads(before)


def options(measured: Measured, session: Session, seconds: float = 20.0) -> list[str]:
    return [change.option for change in changes(measured, session, seconds)]


def test_the_order_of_tries_follows_the_bound(found: Profiled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.profiling.changes.cores", lambda: 2)
    run, stages = found.measured.run, dict.fromkeys(found.measured.stages, 1e-3)

    def measured(**more: float) -> Measured:
        seconds = {**stages, **more}
        return Measured(run, seconds, {}, sum(seconds.values()), 0.0, frozenset(), decodes=False)

    network = options(measured(forward=0.1), found.session)
    assert network[0] == "--compile"
    assert network[-1] == "--threads 1"
    assert options(measured(order=0.1), found.session)[0].startswith("--service process")
    assert options(measured(feedback=0.1), found.session)[0].startswith("--log-every")
    assert options(measured(rest=0.1), found.session)[0] == "--batch-size 32"
    # What is next after the bound comes before what may help anyway.
    both = options(measured(order=0.1, feedback=0.05), found.session)
    assert both[0].startswith("--service process")
    assert both[1] == "--log-every 100"
    assert len(set(both)) == len(both)


def test_what_is_not_tried_says_what_would_try_it(found: Profiled) -> None:
    candidates = changes(found.measured, found.session, 20.0)
    fitting = [change.option for change in candidates if change.takes is None]
    rows = left_out(candidates, 1)
    assert {row["option"]: row["by"] for row in rows} == {
        "--compile": "--seconds 60",
        **{option: f"--tries {number}" for number, option in enumerate(fitting, 1) if number > 1},
    }
    assert left_out(changes(found.measured, found.session, 60.0), 99) == []
