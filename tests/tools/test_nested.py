"""Files of a run that hold no object of ours, or one nested too deeply: one line, from every command."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samplers import SamplingError, Scores
from tools.cli import main
from trainer.lock import RunLock

DEEP = "[" * 100_000


def told(capfd: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """Return the only line on the error stream of a command that refuses."""
    assert main([str(word) for word in words]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    return line


@pytest.fixture
def run(photographs: Any, tmp_path: Path) -> Path:
    shutil.copytree(photographs.square, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("file", "text", "commands"),
    [
        ("run.toml", f"a = {DEEP}", ["report", "evaluate", "run", "study"]),
        ("run.toml", f"a = {'1' * 5000}", ["report"]),
        ("environment.json", DEEP, ["evaluate"]),
        ("ledger.json", DEEP, ["evaluate", "advise"]),
        ("profile.json", DEEP, ["profile"]),
    ],
)
def test_a_file_of_a_run_is_named(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], file: str, text: str, commands: list[str]
) -> None:
    (run / file).write_text(text)
    words = {
        "report": (run, "--out", tmp_path / "x.html"),
        "evaluate": (run, tmp_path),
        "advise": (run,),
        "profile": (run / file,),
        "run": (run / file,),
        "study": (run / file,),
    }
    for command in commands:
        assert file in told(capfd, command, *words[command])


@pytest.mark.parametrize("line", [DEEP, "null", "[]", "1" * 5000, "{}", '{"step": 1}', "\0", ""])
def test_a_line_of_the_evaluations_is_counted(
    run: Path, photographs: Any, capfd: pytest.CaptureFixture[str], line: str
) -> None:
    with (run / "evaluations.jsonl").open("a") as file:
        file.write(f"{line}\n")
    assert main(["evaluate", str(run), str(photographs.folder), "--device", "cpu"]) == 0
    shown = capfd.readouterr()
    assert "1 lines of" in shown.out + shown.err
    assert "evaluations.jsonl can't be read, and are left out" in shown.out + shown.err


@pytest.mark.parametrize("name", ["s.npz", "/dev/zero"])
def test_scores_that_have_no_end_are_not_read(
    photographs: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    os.mkfifo(tmp_path / "s.npz")
    data = photographs.folder.parent / "data" / "square" / "train.beton"
    words = ["run", "fashion_mnist_cpu", "--data", str(data), "--model", "resnet8", "--batch-size", "12"]
    words += ["--device", "cpu", "--runs-dir", str(tmp_path), "--name", "x", "--sampler", "subset"]
    assert main([*words, "--sampler.scores", str(tmp_path / name)]) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert f"{name} can't be read (it is no regular file)" in line


def test_a_lock_that_is_no_lock_of_ours_is_free(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(DEEP)
    with RunLock(tmp_path) as lock:
        lock.check()


def test_metadata_of_scores_are_read(tmp_path: Path) -> None:
    columns = {"schema": 1, "scores": np.zeros(3, np.float32), "method": "x", "metadata": DEEP}
    with (tmp_path / "scores.npz").open("wb") as file:
        np.savez(file, **columns)  # type: ignore[arg-type]
    with pytest.raises(SamplingError, match="metadata that are a JSON object"):
        Scores.load(tmp_path / "scores.npz", 3)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "{}"),
        ("run", "{}.toml"),
        ("run", "cifar10", "--with", "{}"),
        ("run", "cifar10", "--data-dir", "{}"),
        ("run", "cifar10", "--method", "distillation", "--method.teacher", "{}"),
        ("inspect", "{}"),
        ("verify", "{}"),
        ("report", "{}"),
        ("evaluate", "{}", "x"),
        ("predict", "{}", "x"),
        ("predict", "x", "{}"),
        ("export", "{}"),
        ("study", "{}.toml"),
        ("profile", "{}.json"),
        ("tune", "{}"),
        ("range", "{}"),
        ("score", "cifar10", "--out", "{}.npz"),
        ("advise", "{}"),
        ("augment-gallery", "{}"),
    ],
    ids=" ".join,
)
def test_a_path_that_can_not_be_looked_up_is_named(
    words: tuple[str, ...], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([word.format("n" * 300) for word in words]) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert "nnnnnnnnnn" in line
    assert len(line) < 700
    assert os.listdir(tmp_path) == []  # noqa: PTH208
