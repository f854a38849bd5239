"""Progress in plain lines: nothing is written over, and what is shown is short."""

from __future__ import annotations

import io
from collections.abc import Callable

from trainer import Lines, RunFolder, Session, train
from trainer.config import Run


def test_a_run_is_followed_by_lines_that_stay(recipe: Callable[..., Run]) -> None:
    run, out = recipe(epochs=2, sampler="p_sgd", log_every=5), io.StringIO()
    with train(run, RunFolder(run.runs_dir / "lines", run), watcher=Lines(0, out)) as session:
        text = out.getvalue()
        lines = text.splitlines()
        assert "\r" not in text
        assert lines[0] == (
            "training Session(resnet8 on fashion_mnist: step 0 of 20, 0 rounds, 0.0% of the budget, "
            f"cpu {session.precision}, {run.runs_dir / 'lines'})"
        )
        assert lines[1].startswith("round 0, step 5 of 20, 25% of the budget: loss ")
        assert lines[-1].startswith("round 2, step 20 of 20, 100% of the budget: accuracy ")
        assert lines[-1].endswith("%")


def test_few_lines_are_written_where_steps_are_fast(recipe: Callable[..., Run]) -> None:
    run, out = recipe(epochs=1, log_every=1), io.StringIO()
    with train(run, RunFolder(run.runs_dir / "few", run), watcher=Lines(3600, out)) as session:
        assert isinstance(session, Session)
    assert len(out.getvalue().splitlines()) == 2
