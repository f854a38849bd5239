"""Conversions that kill themselves where they are told to, in a process that imports once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ImageFolder

OPTIONS = ConvertOptions(encoding="proportion", validation=0.25, levels=(24,), max_resolution=50, seed=4)
IMAGES = 240
# Imports once, and forks a process for each conversion it is told of: importing takes longer than the rest.
# Where a function of the operating system's is named, the process kills itself at the n-th call of it, and
# where a size is, once its journal is larger, so that the kill falls where it is to fall on any machine.
CONVERTS = """
import json, os, signal, sys
from dataclasses import replace
from pathlib import Path
from pipeline.conversion import job as conversion
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.conversion.journal import journal_path
from pipeline.sources import ImageFolder

def work(folder, out, function, calls, size, changes):
    conversion._SECONDS = 0.0
    if function:
        module = Path if function in ("replace", "unlink") else os
        original = getattr(module, function)
        def counted(*arguments, **more):
            nonlocal calls
            calls -= 1
            if calls < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **more)
        setattr(module, function, counted)
    options = ConvertOptions(encoding="proportion", validation=0.25, levels=(24,), max_resolution=50, seed=4)
    def kill_itself(done, total):
        if size is not None and journal_path(Path(out)).stat().st_size > size:
            os.kill(os.getpid(), signal.SIGKILL)
    convert(ImageFolder(Path(folder)), Path(out), replace(options, **changes), kill_itself)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            work(*json.loads(line))
        except ValueError as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(2)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Converter:
    """Another process that converts."""

    def __init__(self, errors: IO[str]) -> None:
        self._errors = errors
        self.process = subprocess.Popen(
            [sys.executable, "-c", CONVERTS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    def start(
        self,
        folder: Path,
        out: Path,
        function: str = "",
        calls: int = 0,
        size: int | None = None,
        changes: dict[str, object] | None = None,
    ) -> None:
        """Begin to convert."""
        assert self.process.stdin is not None
        asked = [str(folder), str(out), function, calls, size, changes or {}]
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()

    def status(self) -> int:
        """Wait for the conversion's end, and give the exit status of its process."""
        return self._number()

    def said(self) -> str:
        """Return everything that was written to the standard error so far."""
        return Path(self._errors.name).read_text()

    def _number(self) -> int:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said()
        return int(line)


def run(
    converter: Converter,
    folder: Path,
    out: Path,
    function: str = "",
    calls: int = 0,
    changes: dict[str, object] | None = None,
) -> int:
    converter.start(folder, out, function, calls, None, changes)
    return converter.status()


def run_until(converter: Converter, folder: Path, out: Path, size: int, **changes: object) -> int:
    """Convert until the journal has more than ``size`` bytes, when the process kills itself; its exit status.

    Killed from here, it may have ended before.
    """
    converter.start(folder, out, size=size, changes=changes)
    return converter.status()


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def go_on(folder: Path, out: Path, options: ConvertOptions = OPTIONS) -> int:
    """Convert in this process; give how many images were done before."""
    seen: list[int] = []
    convert(ImageFolder(folder), out, options, lambda done, total: seen.append(done))
    return seen[0] if seen[0] % 32 == 0 and seen[0] != 32 else 0


def copy(stopped: Path, target: Path) -> Path:
    shutil.copytree(stopped, target, dirs_exist_ok=True)
    return target / "x.beton"
