"""A run folder has one process that trains in it; one that is gone holds nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from forked import start_program

from tools.cli import main
from trainer import lock
from trainer.errors import RunError
from trainer.lock import RunLock

HOLDER = """
import sys, time
from pathlib import Path
from trainer.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[BaseProcess]:
    """Another process that holds the lock of ``tmp_path / "x"``."""
    reader, writer = os.pipe()
    process = start_program(HOLDER, [str(tmp_path / "x")], output=writer)
    os.close(writer)
    with os.fdopen(reader) as said:
        assert said.readline() == "held\n"
        yield process
        process.kill()
        process.join()


def test_a_second_process_is_refused_by_name_and_a_killed_one_holds_nothing(
    holder: BaseProcess, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=f"process {holder.pid} on {os.uname().nodename} trains in") as told:
        RunLock(tmp_path / "x")
    assert "\n" not in str(told.value)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGSTOP)
    with pytest.raises(RunError, match="by one process at a time"):
        RunLock(tmp_path / "x")
    holder.kill()
    holder.join()
    with RunLock(tmp_path / "x") as held:
        held.check()
    assert not list(tmp_path.glob("x/*"))


def test_the_same_run_twice_at_once_is_refused_in_one_line(
    tmp_path: Path, tiny_words: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with RunLock(tmp_path / "runs" / "x"):
        assert main(tiny_words()) == 2
    said = capsys.readouterr().err
    assert f"process {os.getpid()} on" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def _left(folder: Path, **changes: object) -> None:
    """Leave a lock file as a process that the kernel knows no lock of has, with some entries changed."""
    with RunLock(folder):
        content = json.loads((folder / "lock").read_text())
    folder.mkdir(exist_ok=True)
    (folder / "lock").write_text(json.dumps({**content, **changes}))


def test_without_the_kernels_lock_a_living_process_still_holds(tmp_path: Path) -> None:
    # As on a file system whose locks other openings don't see: this process lives, and has that start.
    _left(tmp_path / "x")
    with pytest.raises(RunError, match=f"process {os.getpid()} on"):
        RunLock(tmp_path / "x")


@pytest.mark.parametrize(
    "changes",
    [
        {"started": "1"},  # The id has been used again.
        {"pid": 2**22 + 1},
        {"boot": "another", "pid": 1},  # This machine, before it was started again.
        {"namespace": "pid:[1]"},  # A container that is gone, of this machine.
    ],
)
def test_a_lock_left_behind_is_taken_over(tmp_path: Path, changes: dict[str, object]) -> None:
    _left(tmp_path / "x", **changes)
    with RunLock(tmp_path / "x") as held:
        held.check()


def test_another_machines_lock_is_held_while_it_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.2)
    elsewhere = {"host": "elsewhere", "boot": "another"}
    _left(tmp_path / "gone", **elsewhere)
    with RunLock(tmp_path / "gone") as held:
        held.check()
    _left(tmp_path / "there", **elsewhere)
    touching = "import os, sys, time\nwhile True: os.utime(sys.argv[1]); time.sleep(0.05)"
    other = subprocess.Popen([sys.executable, "-c", touching, str(tmp_path / "there" / "lock")])
    try:
        before = (tmp_path / "there" / "lock").stat().st_mtime_ns
        while (tmp_path / "there" / "lock").stat().st_mtime_ns == before:
            pass
        with pytest.raises(RunError, match="on elsewhere trains in"):
            RunLock(tmp_path / "there")
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("content", ["", "no JSON", "[1]", "\0" * 40])
def test_a_lock_file_that_says_nothing_is_taken_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    with RunLock(tmp_path):
        pass


def test_a_process_that_was_taken_for_dead_notices(tmp_path: Path) -> None:
    with RunLock(tmp_path / "x") as held:
        content = json.loads((tmp_path / "x" / "lock").read_text())
        (tmp_path / "x" / "lock").write_text(json.dumps({**content, "host": "elsewhere", "pid": 7}))
        with pytest.raises(RunError, match="it names process 7 on elsewhere: leave the run to that one"):
            held.check()
    # It is the other's to remove.
    assert (tmp_path / "x" / "lock").exists()


def test_who_trains_in_a_folder_can_be_asked_without_taking_it(holder: BaseProcess, tmp_path: Path) -> None:
    assert lock.holder(tmp_path / "y") is None
    assert lock.holder(tmp_path / "x") == f"process {holder.pid} on {os.uname().nodename}"
    assert (tmp_path / "x" / "lock").exists()
    holder.kill()
    holder.join()
    assert lock.holder(tmp_path / "x") is None
    with RunLock(tmp_path / "x"):
        assert lock.holder(tmp_path / "x") == f"process {os.getpid()} on {os.uname().nodename}"
    assert lock.holder(tmp_path / "x") is None
