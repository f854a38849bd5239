"""A process that runs one side's epochs on request and reports their cost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from tools.bench.loader_sides import SIDES, Work

_REST = 0.05


@dataclass(frozen=True, slots=True)
class Report:
    """Cost of some epochs.

    Attributes
    ----------
    images
        Number of images.
    seconds, cpu
        Wall-clock time, and CPU time of this process and its descendants.
    peak, memory
        Memory of this process and its descendants in bytes: sum of the processes' peaks, and current value.
    """

    images: int
    seconds: float
    cpu: float
    peak: int
    memory: int


class WorkerError(RuntimeError):
    """A side failed; the message is the last line of its error output."""


class Worker:
    """A side in a separate process, idle until epochs are requested."""

    def __init__(self, work: Work) -> None:
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.bench.loader_worker", json.dumps(asdict(work))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )

    def run(self, epochs: int) -> Report:
        """Run some epochs, wait, and return their cost.

        Raises
        ------
        WorkerError
            If the process ends.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{epochs}\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            self._complaints.seek(0)
            raise WorkerError((self._complaints.read().strip().splitlines() or ["no error message"])[-1])
        return Report(**json.loads(line))

    def close(self) -> None:
        """End the process and its descendants; further calls do nothing."""
        if self._process.poll() is None:
            self._process.communicate()
        for pipe in (self._process.stdin, self._process.stdout, self._complaints):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def main() -> None:
    """Run epochs as requested on standard input, until it is closed."""
    # Libraries' output is redirected: standard output carries only the replies.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work = Work(**json.loads(sys.argv[1]))
    side = SIDES[work.side](work)
    for line in sys.stdin:
        batches = (images for _ in range(int(line)) for images in side.epoch())
        # Batches prefetched while others were measured don't count.
        for _ in range(side.ahead):
            next(batches, None)
        begin, before = time.perf_counter(), _cpu()
        images = sum(batches)
        seconds, cpu = time.perf_counter() - begin, _cpu() - before
        report = Report(images, seconds, cpu, _memory("VmHWM"), _memory("VmRSS"))
        _come_to_rest()
        print(json.dumps(asdict(report)), file=answers, flush=True)


def _come_to_rest() -> None:
    """Wait until no thread prefetches any more, so that it doesn't disturb the next measurement."""
    before, busy = _cpu(), True
    while busy:
        time.sleep(_REST)
        now = _cpu()
        # Checking takes some CPU time, too.
        before, busy = now, now - before > 0.2 * _REST


def _family(process: str) -> Iterator[str]:
    """Yield the ids of this process and its descendants."""
    yield process
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except OSError:  # The thread, or the process, has ended meanwhile.
            continue
        for child in children:
            yield from _family(child)


def _cpu() -> float:
    """Return the CPU seconds of this process and its descendants, without those that ended."""
    _, *others = _family(str(os.getpid()))
    ticks = 0
    for process in others:
        # Fields 14 and 15 of the line; the name before them, in parentheses, may contain any characters.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _memory(name: str) -> int:
    total = 0
    for process in _family(str(os.getpid())):
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
        total += int(found[1]) * 1024 if found else 0
    return total


if __name__ == "__main__":
    main()
