"""Signals that ask a run to stop: a wish between two steps, at once within what can be made again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forked import start_program

from trainer.config import Run
from trainer.errors import InterruptedRunError
from trainer.interrupt import STOPS, Stopped, stop_on_signal
from trainer.loop import train
from trainer.parallel import World
from trainer.run_folder import RunFolder, folder_name
from trainer.session import Session

Make = Callable[..., Run]
Train = Callable[..., Session]
SMALL = {"batch_size": 16, "model": {"name": "resnet8", "width": 4}, "log_every": 1, "precision": "fp32"}


def folder_of(run: Run) -> RunFolder:
    return RunFolder(run.runs_dir / folder_name(run), run)


@pytest.mark.parametrize("number", STOPS)
def test_every_signal_is_a_wish_and_a_late_second_one_is_not(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.interrupt.ONE_WISH", 1e9)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(number)
    with stop_on_signal() as stop, stop.patiently():
        signal.raise_signal(number)
        # torchrun passes on what its ranks had from the terminal.
        signal.raise_signal(number)
        assert stop.by == number.name
        monkeypatch.setattr("trainer.interrupt.ONE_WISH", 0)
        with pytest.raises(Stopped):
            signal.raise_signal(number)
    assert signal.getsignal(number) == before


def test_a_signal_that_was_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signal() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.asked
    finally:
        signal.signal(signal.SIGHUP, before)


def test_before_the_first_step_a_signal_stops_at_once(
    recipe: Make, watch: Callable[..., Any], tiny: Callable[..., Path]
) -> None:
    run = recipe(data=str(tiny()), name="early", **SMALL)

    class Early(watch):  # type: ignore[misc, valid-type]
        def started(self, session: Session, resumed: bool) -> None:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped):
        train(run, folder_of(run), World(), Early())
    left = {path.name for path in (run.runs_dir / "early").iterdir()}
    assert left == {"run.toml", "environment.json"}


STUCK = """
import ctypes, os
from trainer.interrupt import Stopped, stop_on_signal
lock = ctypes.create_string_buffer(64)
try:
    with stop_on_signal():
        print("in", flush=True)
        # A compiler that doesn't come back: no signal interrupts it.
        for _ in range(2):
            ctypes.CDLL(None).pthread_mutex_lock(lock)
except Stopped:
    os._exit(7)
"""


def test_a_compiler_that_keeps_python_from_hearing_ends_all_the_same() -> None:
    status: int | None = 7
    pause = 0.05
    # Python may have handled the signal before it was stuck; then once more, a little later.
    while status == 7:
        (out, writes_out), (err, writes_err) = os.pipe(), os.pipe()
        stuck = start_program(STUCK, output=writes_out, errors=writes_err)
        os.close(writes_out)
        os.close(writes_err)
        with os.fdopen(out) as output, os.fdopen(err) as errors:
            assert output.readline() == "in\n"
            time.sleep(pause)
            assert stuck.pid is not None
            os.kill(stuck.pid, signal.SIGTERM)
            stuck.join(600)
            status, pause = stuck.exitcode, 2 * pause
            said = errors.read()
    assert status == 130
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("sampler", "within"),
    # In the first evaluation; in the last but one; while kakurenbo scores the samples that it hid.
    [("p_sgd", 1), ("p_sgd", -1), ({"name": "kakurenbo", "confidence": 0.5}, "scoring")],
)
def test_a_run_stopped_within_an_evaluation_makes_it_again(
    recipe: Make,
    watch: Callable[..., Any],
    train_run: Train,
    tiny: Callable[..., Path],
    sampler: Any,
    within: int | str,
) -> None:
    settings = {**SMALL, "data": str(tiny()), "sampler": sampler, "epochs": 6, "budget": 1.0}
    whole = train_run(recipe(name="whole", **settings))
    lines = whole.folder.read("evaluations.jsonl")

    class Within(watch):  # type: ignore[misc, valid-type]
        """Sends a signal in the middle of a pass without training."""

        def started(self, session: Session, resumed: bool) -> None:
            self.resumed_at = session.ledger.steps if resumed else None
            self.session, self.sent = session, False
            session.encoder.register_forward_hook(self.passed)

        def passed(self, model: Any, given: Any, output: Any) -> None:
            ledger = self.session.ledger
            if model.training or self.resumed_at is not None or self.sent:
                return
            scoring = self.session.order is not None
            if scoring if within == "scoring" else not scoring and ledger.rounds == within % len(lines):
                self.sent = True
                signal.raise_signal(signal.SIGTERM)

    run = recipe(name="stopped", **settings)
    with pytest.raises(InterruptedRunError, match="stopped by SIGTERM at step"):
        train(run, folder_of(run), World(), Within())
    made = folder_of(run).path / "evaluations.jsonl"
    assert not made.exists() or len(made.read_text().splitlines()) < len(lines)
    again = train_run(run, watch())
    assert again.fingerprint() == whole.fingerprint()
    assert again.ledger.scored == whole.ledger.scored
    assert again.ledger.evaluated == whole.ledger.evaluated
    keys = ("step", "round", "metrics")
    told = [
        [[line[key] for key in keys] for line in s.folder.read("evaluations.jsonl")] for s in (again, whole)
    ]
    assert told[0] == told[1]


def test_lines_do_not_depend_on_when_checkpoints_fell(
    recipe: Make, watch: Callable[..., Any], train_run: Train, tiny: Callable[..., Path]
) -> None:
    settings = {**SMALL, "data": str(tiny()), "log_every": 3, "lead": 2, "sampler": "p_sgd"}
    whole = train_run(recipe(name="whole", **settings))
    often = train_run(recipe(name="often", checkpoint_seconds=0, **settings))
    run = recipe(name="stopped", **settings)
    folder = folder_of(run)

    class Within(watch):  # type: ignore[misc, valid-type]
        def started(self, session: Session, resumed: bool) -> None:
            self.passes = 0
            session.encoder.register_forward_hook(self.passed)

        def passed(self, model: Any, given: Any, output: Any) -> None:
            self.passes += model.training
            if self.passes == 4:
                signal.raise_signal(signal.SIGUSR1)

    with pytest.raises(InterruptedRunError, match="stopped by SIGUSR1 at step 4,"):
        train(run, folder, World(), Within())
    again = train_run(run)
    keys = ("step", "round", "samples", "loss", "lr")
    told = [
        [[line[key] for key in keys] for line in s.folder.read("steps.jsonl")] for s in (whole, often, again)
    ]
    assert told[0] == told[1] == told[2]
    assert len({s.fingerprint() for s in (whole, often, again)}) == 1


class Killed(BaseException):
    """Ends a run as a kill does: nothing is written any more."""


@pytest.mark.parametrize("stopped", [False, True], ids=["in training", "in an evaluation"])
def test_lines_that_follow_the_last_checkpoint_are_not_written_twice(
    recipe: Make, watch: Callable[..., Any], train_run: Train, tiny: Callable[..., Path], stopped: bool
) -> None:
    settings = {**SMALL, "data": str(tiny()), "log_every": 3}
    whole = train_run(recipe(name="whole", **settings))
    # Checkpoints after every step, the round's last one among them; or one alone, within the evaluation.
    run = recipe(name="killed", checkpoint_seconds=60 if stopped else 0, **settings)

    class Stopping(watch):  # type: ignore[misc, valid-type]
        def started(self, session: Session, resumed: bool) -> None:
            session.encoder.register_forward_hook(self.passed)

        def passed(self, model: Any, given: Any, output: Any) -> None:
            if not model.training:
                signal.raise_signal(signal.SIGTERM)

    class Dying(watch):  # type: ignore[misc, valid-type]
        def evaluated(self, session: Session, evaluation: Any) -> None:
            raise Killed

    if stopped:
        with pytest.raises(InterruptedRunError):
            train(run, folder_of(run), World(), Stopping())
    with pytest.raises(Killed):
        train(run, folder_of(run), World(), Dying())
    again = train_run(run)
    for name in ("steps.jsonl", "evaluations.jsonl"):
        mine, theirs = (
            [(line["step"], line.get("loss", line.get("metrics"))) for line in s.folder.read(name)]
            for s in (again, whole)
        )
        assert mine == theirs
