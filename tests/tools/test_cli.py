"""Commands as they are typed: what they print, their exit status, and what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.cli import COMMANDS, main

SMALL = ("--model", "resnet8", "--epochs", "2", "--budget", "0.3", "--batch-size", "64", "--device", "cpu")


def run_words(fashion: Path, tmp_path: Path, *more: str) -> list[str]:
    places = ("--data-dir", str(fashion), "--runs-dir", str(tmp_path / "runs"))
    return ["run", "fashion_mnist_cpu", *SMALL, *places, *more]


def test_a_run_trains_reports_and_is_not_made_twice(
    fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = run_words(
        fashion, tmp_path, "--sampler", "p_sgd", "--augment", "ricap", "--augment.ricap.alpha", "0.5"
    )
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "accuracy, last round" in said
    assert "report.html" in said
    (folder,) = (tmp_path / "runs").iterdir()
    assert "p_sgd-standard+ricap-b0.3" in folder.name
    assert "alpha = 0.5" in (folder / "run.toml").read_text()
    assert "<html" in (folder / "report.html").read_text()
    before = (folder / "ledger.json").read_bytes()
    assert main(words) == 0
    assert "This run is finished" in capsys.readouterr().out
    assert (folder / "ledger.json").read_bytes() == before


def test_a_finished_runs_recipe_runs_again_to_the_same_weights(fashion: Path, tmp_path: Path) -> None:
    assert main(run_words(fashion, tmp_path, "--name", "first")) == 0
    first = tmp_path / "runs" / "first"
    again = ["run", str(first / "run.toml"), "--name", "again"]
    assert main(again) == 0
    weights = [
        json.loads((tmp_path / "runs" / name / "ledger.json").read_text())["weights"]
        for name in ("first", "again")
    ]
    assert weights[0] == weights[1]


def test_a_killed_run_goes_on_with_the_same_command(fashion: Path, tmp_path: Path) -> None:
    def words(name: str) -> list[str]:
        return run_words(
            fashion,
            tmp_path,
            "--epochs",
            "20",
            "--log-every",
            "1",
            "--checkpoint-seconds",
            "0.3",
            "--name",
            name,
        )

    assert main(words("whole")) == 0
    killed = subprocess.Popen([sys.executable, "-m", "tools.cli", *words("killed")], env=os.environ)
    checkpoint = tmp_path / "runs" / "killed" / "checkpoint" / "last.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "runs" / "killed" / "ledger.json").exists()
    assert main(words("killed")) == 0
    weights = [
        json.loads((tmp_path / "runs" / name / "ledger.json").read_text())["weights"]
        for name in ("whole", "killed")
    ]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--budget", "0"), "budget must be above 0 and at most 1"),
        (("--budget", "much"), "could not convert string to float: 'much'"),
        (("--sampler", "best"), "sampler must be one of scan, uniform"),
        (("--augment", "ricap", "mixed"), "augment must be one of none, standard"),
        (("--bugdet", "0.3"), "perhaps you meant --budget"),
        (("--batch-size", "4096"), "batch_size must be at most the 1,280 samples of this set; got 4,096"),
        (("--device", "cuda:99"), "device"),
        (("--data", "nothing.beton"), "nothing.beton"),
        (("--data", "no_such_set"), "no_such_set"),
        (("--epochs", "0.01"), "a budget must hold at least one batch of 64"),
        (("--sampler.warmup-rounds", "3"), "sampler.warmup-rounds"),
    ],
)
def test_a_mistake_is_one_line_with_status_2_and_leaves_nothing(
    fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: Sequence[str], message: str
) -> None:
    assert main(run_words(fashion, tmp_path, *more)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert said.startswith("trainer run: ")
    assert not (tmp_path / "runs").exists()


def test_a_diverged_run_has_status_3(
    fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = run_words(fashion, tmp_path, "--lr", "1e9", "--precision", "fp32", "--name", "x")
    assert main(words) == 3
    said = capsys.readouterr().err
    assert "at step" in said
    assert said.count("\n") == 1


def test_an_unknown_command_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tarin"]) == 2
    assert "command must be one of run, profile" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"trainer {command}" in capsys.readouterr().out


def test_help_shows_the_options_of_the_parts_that_were_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "cifar10", "--sampler", "p_sgd", "--augment", "ricap", "--help"])
    said = capsys.readouterr().out
    assert "--sampler.warmup-rounds" in said
    assert "--augment.ricap.alpha" in said
    assert "--budget" in said
