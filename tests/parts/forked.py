"""Processes of their own without the seconds of importing: forks of one that has imported everything.

Python's own fork server, which starts with the first of them. What libraries read from the environment as
they are imported, such as OMP_NUM_THREADS, is the server's; anything else in it may be set per process.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "trainer.loop", "tools.cli", "tools.run"])


def start_program(
    program: str, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> BaseProcess:
    """Start Python code, as ``python -c`` would."""
    return _started(_CONTEXT.Process(target=_run, args=(program, list(arguments), dict(environment or {}))))


def start_command(
    words: Sequence[str], environment: Mapping[str, str] | None = None, errors: Path | None = None
) -> BaseProcess:
    """Start a command of ours whose output nobody wants, and whose errors go to a file."""
    return _started(_CONTEXT.Process(target=_command, args=(list(words), dict(environment or {}), errors)))


def _started(process: BaseProcess) -> BaseProcess:
    # Where a test fails, what it started ends with the process that runs the tests.
    process.daemon = True
    process.start()
    return process


def _run(program: str, arguments: list[str], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})


def _command(words: list[str], environment: dict[str, str], errors: Path | None) -> None:
    os.environ.update(environment)
    for number, path in ((1, os.devnull), (2, errors)):
        if path is not None:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT)
            os.dup2(handle, number)
            os.close(handle)
    from tools.cli import main

    sys.exit(main(words))
