"""Rounds and steps of a session, in loops other than the project's own."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer import open_session
from trainer.config import Run
from trainer.errors import InterruptedRunError, RunError
from trainer.loop import train
from trainer.run_folder import RunFolder
from trainer.session import Session
from trainer.state import save
from trainer.watch import Silent

Recipe = Callable[..., Run]
Train = Callable[..., Session]

README = Path(__file__).parents[2] / "trainer" / "README.md"
RUNS: list[dict[str, Any]] = [
    {"sampler": {"name": "kakurenbo", "fraction": 0.9}},
    {"sampler": "p_sgd", "augment": ["ricap"], "lead": 2},
    {"selection": "foms", "counts": "trained"},
    # Batches of candidates that come to no step, to one or to several.
    {"sampler": "scan", "selection": {"name": "selective_backprop", "start": 0.1, "keep": 0.4}},
]


@pytest.fixture(params=RUNS, ids=["asks", "leads", "foms", "selective_backprop"])
def run(request: pytest.FixtureRequest, recipe: Recipe) -> Run:
    return recipe(model={"name": "resnet8", "width": 4}, epochs=2, threads=1, **request.param)


def test_a_loop_of_ones_own_ends_with_the_weights_of_the_training_loop(
    run: Run, train_run: Train, tmp_path: Path
) -> None:
    with open_session(run, RunFolder(tmp_path / "own", run)) as session:
        # Its rehearsal is no part of the run's times.
        assert not any(session.ledger.seconds.values())
        assert session.ledger.compile_seconds > 0
        numbers = []
        for current in session.rounds():
            assert current.number == session.ledger.rounds
            for step in session.steps(current):
                assert step.number == session.ledger.steps
                assert torch.isfinite(step.losses.loss).all()
                numbers.append(step.number)
            session.finish(current)
            assert session.ledger.rounds == current.number + 1
        assert numbers == list(range(1, len(numbers) + 1))
        found = session.evaluate()
        assert session.ledger.evaluated == 512
        assert 0 <= found[session.run.metric.name] <= 1
        own = session.fingerprint()
    assert own == train_run(run).fingerprint()


def test_a_checkpoint_may_be_saved_after_every_step_that_is_complete(run: Run, tmp_path: Path) -> None:
    whole, losses = 0, []
    with open_session(run, RunFolder(tmp_path / "whole", run)) as session:
        for current in session.rounds():
            for step in session.steps(current):
                whole += step.complete
        fingerprint = session.fingerprint()
    assert whole > 10
    for _ in range(3):
        made = 0
        with open_session(run, RunFolder(tmp_path / "parts", run)) as session:
            for current in session.rounds():
                for step in session.steps(current):
                    losses.append(step.number)
                    made += step.complete
                    if step.complete and made == whole // 3:
                        break
                if made == whole // 3:
                    save(session)
                    break
            else:
                continue
    with open_session(run, RunFolder(tmp_path / "parts", run)) as session:
        # A round that is left early is finished, and those after it are complete.
        for current in session.rounds():
            losses += [step.number for step in session.steps(current)]
        assert session.fingerprint() == fingerprint
        assert losses == list(range(1, session.ledger.steps + 1))


def test_steps_and_end_are_of_the_round_under_way(recipe: Recipe, tmp_path: Path) -> None:
    run = recipe(model={"name": "resnet8", "width": 4}, epochs=2)
    with open_session(run, RunFolder(tmp_path / "own", run)) as session:
        rounds = session.rounds()
        first = next(rounds)
        session.finish(first)
        for refused in (lambda: next(session.steps(first)), lambda: session.finish(first)):
            with pytest.raises(RunError, match="a round must be the one under way; round 1 has ended"):
                refused()


def test_the_example_trains(fashion: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (code,) = (one for one in found if "open_session" in one)
    (tmp_path / "data").symlink_to(fashion)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code.replace('"epochs": 20', '"epochs": 10'), names)
    assert names["session"].ledger.trained == 1280
    assert names["session"].account.progress == 1.0
    assert (tmp_path / "runs" / "mine" / "environment.json").exists()


class Behind(Silent):
    """A watcher that has feedback passed on behind the steps, as on a GPU, and may stop the run."""

    def __init__(self, behind: bool, stop_at: int | None = None) -> None:
        self.behind = behind
        self.stop_at = stop_at

    def started(self, session: Session, resumed: bool) -> None:
        session.behind = self.behind

    def stepped(self, session: Session, loss: float, rate: float) -> None:
        if session.ledger.steps == self.stop_at:
            signal.raise_signal(signal.SIGINT)


def test_feedback_that_is_passed_on_behind_the_steps_changes_no_line_and_no_weight(
    run: Run, tmp_path: Path
) -> None:
    """Orders don't depend on when feedback arrives, and lines wait for their losses, over a stop, too."""
    run = replace(run, log_every=2)
    found = []
    for name, watchers in (("at once", [Behind(False)]), ("behind", [Behind(True, 8), Behind(True)])):
        folder = RunFolder(tmp_path / name, run)
        for watcher in watchers:
            try:
                session = train(run, folder, watcher=watcher)
            except InterruptedRunError:
                assert watcher.stop_at == 8
        lines = [
            {key: value for key, value in line.items() if key not in ("seconds", "rate")}
            for line in folder.read("steps.jsonl")
        ]
        found.append((lines, session.fingerprint(), session.samples.times_seen.tolist()))
        session.close()
    assert found[0] == found[1]
