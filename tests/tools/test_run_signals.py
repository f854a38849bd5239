"""Runs under shells and schedulers: signals, closing pipes and terminals, full disks."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from forked import start_command, wait_for

from tools.cli import main

Words = Callable[..., list[str]]
ENDLESS = ("--epochs", "100000", "--checkpoint-seconds", "1e9", "--evaluate-every", "1")


def test_a_closed_terminal_leaves_a_checkpoint_and_a_line(tiny_words: Words, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "x"
    reader, writer = os.pipe()
    with (tmp_path / "errors").open("w") as errors:
        run = start_command(tiny_words(*ENDLESS), output=writer, errors=errors.fileno())
    os.close(writer)
    # A reader that has seen enough takes no training with it.
    os.close(reader)
    assert wait_for(run, lambda: (folder / "steps.jsonl").exists())
    note = "note: output can't be written any more (Broken pipe); the command continues without it\n"
    assert wait_for(run, lambda: (tmp_path / "errors").read_text() == note)
    assert run.pid is not None
    os.kill(run.pid, signal.SIGHUP)
    run.join(600)
    assert run.exitcode == 130
    said = (tmp_path / "errors").read_text().removeprefix(note)
    assert "stopped by SIGHUP at step" in said
    assert said.count("\n") == 1
    assert (folder / "checkpoint" / "last.pt").exists()
    assert not (folder / "lock").exists()


def test_without_output_and_errors_a_mistake_keeps_its_status() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "tools.cli", "run", "no_such_recipe"]
    done = subprocess.run(words, stdout=writer, stderr=writer, check=False)
    os.close(writer)
    assert done.returncode == 2


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    tiny_words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny_words("--name", "whole")) == 0
    weights = json.loads((tmp_path / "runs" / "whole" / "ledger.json").read_text())["weights"]
    folder = tmp_path / "runs" / "x"
    words = tiny_words("--checkpoint-seconds", "0")
    checkpoint = tmp_path / "runs" / "whole" / "checkpoint" / "last.pt"
    for most in (3000, checkpoint.stat().st_size - 1):
        capsys.readouterr()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        # No file may grow beyond: what a full disk does, for root as for others.
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        try:
            assert main(words) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        said = capsys.readouterr().err
        assert "can't be written: File too large" in said
        assert said.count("\n") == 1
        assert not (folder / "ledger.json").exists()
    assert main(words) == 0
    assert json.loads((folder / "ledger.json").read_text())["weights"] == weights


def test_what_can_not_be_written_is_still_told(
    tiny: Callable[..., Path], tiny_words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tiny_words()
    data = tmp_path / "tiny" / "train.beton"
    assert main(words) == 0
    folder = tmp_path / "runs" / "x"
    (folder / "report.html").unlink()
    commands = (words, ["report", str(folder)], ["inspect", str(data)])
    content = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    told = []
    for command in commands:
        capsys.readouterr()
        # As on a disk that is read-only, for root as for others: not a byte can be written.
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            status = main(command)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        said = capsys.readouterr()
        told.append((status, said.out, said.err))
    assert [status for status, _, _ in told] == [0, 0, 0]
    assert all("note: " in out + err and err.count("\n") <= 1 for _, out, err in told)
    assert all("samples trained" in out for _, out, _ in told[:2])
    assert "images" in told[2][1]
    assert content == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    # What was asked for by name must be written.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        assert main(["report", str(folder), "--out", str(tmp_path / "a.html")]) == 2
        assert main(["inspect", str(data), "--sheet", str(tmp_path / "a.png")]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
