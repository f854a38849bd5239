"""Commands as they are typed: what they print, their exit status, and what they leave behind."""

from __future__ import annotations

import doctest
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from samplers import Scores
from tools import arguments
from tools.arguments import UsageError, chosen
from tools.cli import COMMANDS, main
from tools.outputs import check_output
from tools.recipe_line import read_run
from trainer import recipe
from trainer.errors import RunError
from trainer.run_folder import folder_name

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
        (
            ("--sampler", "subset", "--sampler.scores", "none.npz"),
            "--sampler.scores must name a readable file; none.npz can't be read (No such file",
        ),
        (
            ("--augment.standard.padding", "1000000"),
            "padding must be at most 256 pixels; got 1000000: an eighth",
        ),
        (
            ("--evaluation-resolution", "1e6"),
            "evaluation_resolution must be at most 16384 pixels; got 1000000",
        ),
        (("--sampler.warmup-rounds", "3"), "--sampler.warmup-rounds is an option of p_sgd"),
        (
            ("--optimizer.lrr", ".9"),
            "--optimizer.lrr must be an option of sgd: --optimizer.lr, --optimizer.momentum, --opti",
        ),
        (
            ("--optimizer", "adamw", "--optimizer.momentum", ".9"),
            "--optimizer.momentum is an option of sgd, lars, muon; got adamw: choose one by --optimizer, or "
            "take of its own --optimizer.lr, --optimizer.betas, --optimizer.eps, --optimizer.weight-decay, "
            "--optimizer.decay, --optimizer.layer-decay",
        ),
        (
            ("--augment.ricap.alpha", "3"),
            "is an option of ricap; got standard: add it, as --augment standard",
        ),
        (("--augment",), "--augment must be given a name, one of none, standard"),
        (("--augment=standard", "ricapp"), "augment must be one of none, standard"),
        (("--augment", "standard,ricap"), "with spaces between them; got standard,ricap: write standard ric"),
        (("--mean", "0", "0"), "--mean must be "),
        (("--name", ".."), "name must be one folder name without slashes"),
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
    words = run_words(fashion, tmp_path, "--optimizer.lr", "1e9", "--precision", "fp32", "--name", "x")
    assert main(words) == 3
    said = capsys.readouterr().err
    assert "at step" in said
    assert said.count("\n") == 1


def test_an_unknown_command_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tarin"]) == 2
    assert "command must be one of run, study, profile" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"trainer {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ("--sampler", "p_sgd", "--augment", "ricap", "--help"),
        ("--sampler", "p_sgd", "--augment=standard", "ricap", "-h"),
    ],
)
def test_help_shows_the_options_of_the_parts_that_were_named(
    words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "cifar10", *words])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "--sampler.warmup-rounds" in said
    assert "--augment.ricap.alpha" in said
    assert "--budget" in said


def test_examples_in_docstrings() -> None:
    failed, tried = doctest.testmod(arguments)
    assert (failed, tried) == (0, 4)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_mistake_is_told_alike_in_a_box_and_without(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", "advise", "--cost", "much"],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    told = "trainer advise: --cost must be None or FLOAT; got much; see `trainer advise --help`\n"
    assert done.stderr == told


def test_every_name_after_an_equals_sign_is_chosen() -> None:
    assert chosen(["--augment=standard", "ricap", "--seed", "1"], "--augment") == ["standard", "ricap"]
    assert chosen(["--augment", "ricap", "-h"], "--augment") == ["ricap"]
    assert chosen(["--augment", "--seed", "1"], "--augment") == []
    assert chosen(["--augment.ricap.alpha", "1"], "--augment") is None
    run, _ = read_run(["cifar10", "--augment=standard", "ricap"], "trainer run", "")
    assert folder_name(run).startswith("cifar10-uniform-standard+ricap-")


def test_a_slot_without_a_name_and_help_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "cifar10", "--sampler", "-h"])
    assert stop.value.code == 0
    assert "--sampler NAME" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["train.beton", "card.npz"])
def test_scores_replace_nothing_but_scores(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    if out.suffix == ".npz":
        np.savez(out, images=np.zeros(3), labels=np.zeros(3))
    else:
        out.write_bytes(b"data")
    before = out.read_bytes()
    assert main(["score", "fashion_mnist_cpu", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert ("must not replace a file" if out.suffix == ".npz" else "--out must end in .npz") in said
    assert said.count("\n") == 1
    assert out.read_bytes() == before


def test_outputs_of_the_same_command_are_replaced(tmp_path: Path) -> None:
    out = tmp_path / "scores.npz"
    Scores(np.zeros(3, np.float32), "el2n", {}).save(out)
    check_output("--out", out, "scores.npz", mark=b"method.npy")
    (tmp_path / "empty.npz").touch()
    check_output("--out", tmp_path / "empty.npz", "scores.npz", mark=b"method.npy")
    check_output("--out", tmp_path / "new" / "deep" / "x.npz", "scores.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(UsageError, match="must be a file; got the folder"):
        check_output("--out", tmp_path / "folder.npz", "scores.npz")


def test_a_data_set_in_place_of_a_recipe_must_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "tiny/train.beton"]) == 2
    assert "tiny/train.beton must exist; make it with `trainer convert" in capsys.readouterr().err
    # Where only a recipe can stand, as in a study.
    with pytest.raises(RunError, match=r"give it as --data tiny/train\.beton"):
        recipe.load("tiny/train.beton")
