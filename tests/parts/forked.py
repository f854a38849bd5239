"""Processes of their own without the seconds of importing and compiling: forks of one that has done both.

Python's own fork server, which starts with the first of them. They have this process's environment, and what
is added to it, as any other process that it starts; only what libraries read from it as they are imported,
such as OMP_NUM_THREADS, is the server's.

A fork doesn't shut its interpreter down: how a command behaves then is for processes of their own to show.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from multiprocessing import forkserver, reduction
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "trainer.loop", "tools.cli", "tools.run", "warm"])


def start_program(
    program: str,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    output: int | None = None,
    errors: int | None = None,
) -> BaseProcess:
    """Start Python code, as ``python -c`` would; ``output`` and ``errors`` are handles, or this process's."""
    return _started(_program, (program, list(arguments)), environment, output, errors)


def start_command(
    words: Sequence[str],
    environment: Mapping[str, str] | None = None,
    output: int | None = None,
    errors: int | None = None,
) -> BaseProcess:
    """Start a command of ours; without ``output``, a handle, nobody wants what it prints."""
    with Path(os.devnull).open("w") as nowhere:
        wanted = nowhere.fileno() if output is None else output
        return _started(_command, (list(words),), environment, wanted, errors)


def run_program(
    program: str, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python code to its end and return its status and what it printed, as `subprocess.run` does."""
    return _ended(lambda out, err: start_program(program, arguments, environment, out, err), program)


def run_command(
    words: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end and return its status and what it printed."""
    return _ended(lambda out, err: start_command(words, environment, out, err), words)


def wait_for(process: BaseProcess, ready: Callable[[], bool]) -> bool:
    """Wait until something is so, or the process has ended: whether it is so."""
    while not ready():
        if process.exitcode is not None:
            return ready()
        time.sleep(0.01)
    return True


def _ended(start: Callable[[int, int], BaseProcess], words: Any) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = start(out.fileno(), err.fileno())
        process.join(600)
        assert process.exitcode is not None
        printed = []
        for file in (out, err):
            file.seek(0)
            printed.append(file.read())
    return subprocess.CompletedProcess(words, process.exitcode, *printed)


def _started(
    target: Callable[..., None],
    arguments: tuple[Any, ...],
    environment: Mapping[str, str] | None,
    output: int | None,
    errors: int | None,
) -> BaseProcess:
    _serve()
    streams = [None if handle is None else _Handle(handle) for handle in (output, errors)]
    everything = {**os.environ, **(environment or {})}
    process = _CONTEXT.Process(target=_begin, args=(target, arguments, everything, streams))
    # Where a test fails, what it started ends with the process that runs the tests.
    process.daemon = True
    process.start()
    return process


@cache
def _serve() -> None:
    """Start the server, which finds `warm` beside this file."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([before] if before else [])])
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


class _Handle:
    """A handle of an open file that goes to another process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _detached, (reduction.DupFd(self.number),)


def _detached(copy: Any) -> int:
    number: int = copy.detach()
    return number


def _begin(
    target: Callable[..., None],
    arguments: tuple[Any, ...],
    environment: dict[str, str],
    streams: list[int | None],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, handle in enumerate(streams, start=1):
        if handle is not None:
            os.dup2(handle, number)
            os.close(handle)
    # The server's know whether its files could be sought in.
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    # The server goes on without what it can't import: here that is an error.
    import_module("warm")
    # It may start processes of its own.
    multiprocessing.current_process().daemon = False
    target(*arguments)


def _program(program: str, arguments: list[str]) -> None:
    sys.argv = ["-c", *arguments]
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})


def _command(words: list[str]) -> None:
    from tools.cli import main

    sys.exit(main(words))
