"""Steps of a real run that are recorded within it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.cli import main
from trainer.errors import RunError
from trainer.recording import Recording

Words = Callable[..., list[str]]


def test_a_runs_steps_are_recorded_and_shown_and_nothing_else_changes(
    tiny_words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_words()) == 0
    plain = json.loads((tmp_path / "runs" / "x" / "ledger.json").read_text())
    assert main(tiny_words("--name", "y", "--profile-steps", "3:12")) == 0
    folder = tmp_path / "runs" / "y"
    ledger = json.loads((folder / "ledger.json").read_text())
    assert ledger["weights"] == plain["weights"]
    figures = json.loads((folder / "profile.json").read_text())
    assert (figures["kind"], figures["batches"], len(figures["steps"])) == ("steps", 10, 10)
    spent = sum(figures["phases"].values())
    assert 0.5 * figures["seconds"] < spent <= figures["seconds"]
    hosts = [(name, number) for lane, name, _, _, number in figures["timeline"] if lane == "host"]
    assert {number for _, number in hosts} == set(range(3, 13))
    assert {"wait", "augment", "forward", "backward", "optimize", "feedback"} <= {name for name, _ in hosts}
    assert "Timeline" in (folder / "profile.html").read_text()
    assert 'href="profile.html"' in (folder / "report.html").read_text()
    assert 'href="profile.html"' not in (folder.parent / "x" / "report.html").read_text()
    said = capsys.readouterr().out
    assert "Training is bound by its steps" in said or "Training waits" in said


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("200", "profile_steps must be FIRST:LAST, steps of the run counted from 1; got 200"),
        ("0:5", "profile_steps must be FIRST:LAST"),
        ("9:8", "profile_steps must be FIRST:LAST"),
        ("1:9000", "profile_steps must be at most 2,000 steps, for a page that can be read; got 9,000"),
    ],
)
def test_steps_that_cant_be_are_refused(steps: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        Recording.parse(steps)


def test_a_run_too_short_to_profile_is_refused_before_it_trains(
    tiny_words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_words("--profile-steps", "10:17")) == 2
    assert "profile_steps must lie within this run's 16 steps; got 10:17" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
