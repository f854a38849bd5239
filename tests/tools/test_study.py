"""Studies from the command line: run for real, killed anywhere, beside others, and wrong."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from forked import start_command, wait_for

from tools.cli import main
from tools.studying.cells import Place, final_cells
from tools.studying.definition import read_study
from trainer.lock import RunLock

Words = Callable[..., list[str]]

STUDY = """
title = "Does p_sgd pay on noise?"
recipe = "fashion_mnist_cpu"
seeds = [0, 1]
baseline = { sampler = "uniform" }

[settings]
data = "tiny"
model = { name = "resnet8", width = 4 }
batch_size = 16
epochs = 24
budget = 0.5
log_every = 1
evaluate_every = 8
checkpoint_seconds = 0
precision = "fp32"
device = "cpu"
threads = 1

[grid]
sampler = ["uniform", "p_sgd"]
"""


@pytest.fixture(scope="module")
def finished(tiny_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the run folders of the whole study."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "noise.toml").write_text(STUDY)
    for cell in final_cells(
        read_study(str(folder / "noise.toml")), Place(folder / "runs", tiny_directory), {}
    ):
        cell.write_recipe()
        assert main(["run", str(cell.recipe)]) == 0
    return folder / "runs"


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    """Write the study's file, beside ``runs`` with all of its runs, finished."""
    shutil.copytree(finished, tmp_path / "runs")
    path = tmp_path / "noise.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def words(tiny_directory: Path, study: Path) -> Callable[..., list[str]]:
    """Make the command line of the study."""

    def make(*more: str) -> list[str]:
        places = ("--runs-dir", str(study.parent / "runs"), "--data-dir", str(tiny_directory))
        return ["study", str(study), *places, *more]

    return make


def figures(folder: Path) -> list[dict[str, str]]:
    """Return all figures of a study's tables that don't depend on the time they took."""
    found = []
    for name in ("results", "comparisons", "targets", "speedups", "runs"):
        with (folder / f"{name}.csv").open() as file:
            for row in csv.DictReader(file):
                found.append({key: value for key, value in row.items() if not is_timed(key)})
    return found


def is_timed(column: str) -> bool:
    return "time" in column or "hours" in column


@contextlib.contextmanager
def started(command: list[str], errors: Path) -> Iterator[BaseProcess]:
    with errors.open("w") as file:
        process = start_command(command, errors=file.fileno())
    try:
        yield process
    finally:
        process.kill()
        process.join()


def holders(folder: Path) -> list[int]:
    """Return the processes that train in a study's run folders."""
    found = []
    for lock in folder.glob("*/lock"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            found.append(int(json.loads(lock.read_text())["pid"]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.long)])
def test_a_study_killed_at_random_has_the_tables_of_one_that_was_not(
    study: Path, words: Words, tmp_path: Path, kills: int
) -> None:
    chance = random.Random(kills)
    assert main(words("--out", str(tmp_path / "whole"))) == 0
    folder = study.parent / "runs" / "noise"
    for name in ("uniform-s1", "p_sgd-s1"):
        shutil.rmtree(folder / name)

    def steps() -> int:
        return sum(log.read_bytes().count(b"\n") for log in folder.glob("*/steps.jsonl"))

    for _ in range(kills):
        with started(words(), tmp_path / "errors") as process:
            before, more = steps(), chance.randrange(1, 30)
            wait_for(process, lambda at=before + more: bool(holders(folder)) and steps() >= at)  # type: ignore[misc]
            first = holders(folder)
            for pid in first:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            # The study starts that run again, and is killed itself somewhere in it.
            wait_for(process, lambda old=first: bool(set(holders(folder)) - set(old)))  # type: ignore[misc]
            time.sleep(chance.random() / 2)
            process.kill()
    assert main(words()) == 0
    assert figures(folder) == figures(tmp_path / "whole")


@pytest.mark.slow
def test_a_study_that_is_stopped_leaves_checkpoints_and_tables(
    study: Path, words: Words, tmp_path: Path
) -> None:
    folder = study.parent / "runs" / "noise"
    shutil.rmtree(folder / "p_sgd-s1")
    study.write_text(STUDY)
    with started(words(), tmp_path / "errors") as process:
        assert wait_for(process, lambda: (folder / "p_sgd-s1" / "steps.jsonl").exists())
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        process.join(600)
        assert process.exitcode == 130
    told = "trainer study: stopped by SIGTERM with 3 of 4 runs finished; the same command goes on\n"
    assert (tmp_path / "errors").read_text() == told
    assert (folder / "p_sgd-s1" / "checkpoint" / "last.pt").exists()
    assert "Provisional: 3 of 4 runs have ended." in (folder / "study.md").read_text()


def test_a_finished_study_is_not_run_again_and_its_tables_are(
    words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    assert main(words()) == 0
    first = figures(tmp_path / "runs" / "noise")
    said = capsys.readouterr().out
    assert "comparison" in said
    assert "page: " in said
    assert main(words("--tables", "--out", str(tmp_path / "out"))) == 0
    assert figures(tmp_path / "out") == first
    assert (tmp_path / "out" / "study.html").exists()
    # As on a disk that is read-only, for root as for others.
    (tmp_path / "runs" / "noise" / "results.csv").unlink()
    (tmp_path / "runs" / "noise" / "results.csv").mkdir()
    capsys.readouterr()
    assert main(words("--tables")) == 0
    shown = capsys.readouterr()
    assert "comparison" in shown.out
    assert "results.csv can't be written: Is a directory: --out FOLDER writes the tables" in shown.err
    (tmp_path / "runs" / "noise" / "results.csv").rmdir()
    assert main(words("--tables")) == 0


def refused(capsys: pytest.CaptureFixture[str], command: list[str]) -> str:
    capsys.readouterr()
    assert main(command) == 2
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1
    assert lines[0].startswith("trainer study: ")
    return lines[0]


def test_what_can_t_be_run_is_refused_and_nothing_done_is_lost(
    study: Path, words: Words, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = study.parent / "runs"
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    assert "--jobs must be at least 1 and at most" in refused(capsys, words("--jobs", "5000"))
    said = refused(capsys, words("--only", "rs2"))
    assert "--only must name arms or cells, arms being uniform, p_sgd; got 'rs2'" in said
    study.write_text(STUDY.replace("epochs = 24", "epochs = 25"))
    assert "its recipe was " in refused(capsys, words())
    study.write_text(STUDY.replace('["uniform", "p_sgd"]', '["uniform", "psgd"]'))
    assert "sampler must be one of" in refused(capsys, words())
    study.write_text(STUDY)
    monkeypatch.setattr("tools.studying.room.free_memory", lambda: 10**6)
    peaks = {"schema": 1, "begun": "then", "seeds": [0, 1], "arms": [], "definition": "", "diverged": {}}
    (runs / "noise" / "study.json").write_text(json.dumps({**peaks, "bytes": {"uniform-s0": 10**9}}))
    said = refused(capsys, words())
    assert "--jobs must leave each run the 1.00 GB that it takes; 0.00 GB are free" in said
    (runs / "noise" / "study.json").unlink()
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before


def test_a_folder_that_somebody_else_writes_is_left_to_them(
    study: Path, words: Words, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = study.parent / "runs"
    ledger = runs / "noise" / "p_sgd-s1" / "ledger.json"
    whole = ledger.read_bytes()
    ledger.unlink()
    monkeypatch.setattr("tools.studying.jobs.ORPHANS", 0.0)
    with RunLock(runs / "noise" / "p_sgd-s1"):
        said = refused(capsys, words())
    assert f"p_sgd-s1: process {os.getpid()} on " in said
    assert "trains in its folder: wait for it: the same command tries them again" in said
    assert "Provisional: 3 of 4 runs have ended." in (runs / "noise" / "study.md").read_text()
    ledger.write_bytes(whole)
    assert main(words()) == 0


@pytest.mark.slow
def test_a_run_that_fails_is_named_and_the_others_go_on(
    study: Path, words: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = study.parent / "runs"
    (runs / "noise" / "uniform-s1" / "ledger.json").unlink()
    checkpoint = runs / "noise" / "uniform-s1" / "checkpoint"
    for path in checkpoint.iterdir():
        path.write_bytes(b"")
    said = refused(capsys, words())
    assert "uniform-s1: " in said
    assert "the same command tries them again" in said


@pytest.mark.slow
def test_a_dry_run_measures_and_runs_nothing(
    study: Path, words: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = study.parent / "runs" / "noise"
    for name in ("uniform-s0", "uniform-s1"):
        shutil.rmtree(folder / name)
    assert main(words("--dry-run")) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "4 runs of the recipe fashion_mnist_cpu with data = tiny" in said
    assert "uniform-s0 sampler = uniform" in said
    assert "to come, with 1 run at a time, " in said
    assert not (folder / "uniform-s0").exists()
    assert not (folder / "study.json").exists()
