"""A process that does one side's work when it is told to, and says what that took."""

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
    """What some epochs took.

    Attributes
    ----------
    images
        How many.
    seconds, cpu
        By the clock, and of all cores, in this process and those it started.
    peak, memory
        Bytes of memory in use by this process and those it started: the most at any time, each process's own
        added up, and now.
    """

    images: int
    seconds: float
    cpu: float
    peak: int
    memory: int


class WorkerError(RuntimeError):
    """A side failed: its last line of complaint."""


class Worker:
    """A side in a process of its own, idle until it is asked for epochs."""

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
        """Have it do some epochs, and wait.

        Raises
        ------
        WorkerError
            When it ends instead.
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
            raise WorkerError((self._complaints.read().strip().splitlines() or ["it said nothing"])[-1])
        return Report(**json.loads(line))

    def close(self) -> None:
        """End the process and those it started; a second call does nothing."""
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
    """Do epochs as they are asked for on the standard input, until it ends."""
    # What libraries print goes elsewhere: the answers alone go to whoever asks.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work = Work(**json.loads(sys.argv[1]))
    side = SIDES[work.side](work)
    for line in sys.stdin:
        batches = (images for _ in range(int(line)) for images in side.epoch())
        # What was made while others were measured doesn't count.
        for _ in range(side.ahead):
            next(batches, None)
        begin, before = time.perf_counter(), _cpu()
        images = sum(batches)
        seconds, cpu = time.perf_counter() - begin, _cpu() - before
        report = Report(images, seconds, cpu, _memory("VmHWM"), _memory("VmRSS"))
        _come_to_rest()
        print(json.dumps(asdict(report)), file=answers, flush=True)


def _come_to_rest() -> None:
    """Wait until no thread works ahead any more, so that it doesn't disturb the next."""
    before, busy = _cpu(), True
    while busy:
        time.sleep(_REST)
        now = _cpu()
        # To look takes a little as well.
        before, busy = now, now - before > 0.2 * _REST


def _family(process: str) -> Iterator[str]:
    """This process and all below it, by their numbers."""
    yield process
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except OSError:  # The thread, or the process, has ended meanwhile.
            continue
        for child in children:
            yield from _family(child)


def _cpu() -> float:
    """Seconds of all cores that this process and those it started have used, without those that ended."""
    _, *others = _family(str(os.getpid()))
    ticks = 0
    for process in others:
        # Behind the name, which is in brackets and may hold anything: fields 14 and 15 of the line.
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
