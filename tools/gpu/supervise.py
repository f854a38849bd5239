"""Runs the sections in separate processes, so that a crash of one doesn't end the check."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tools.gpu.sections import Section
from tools.gpu.worker import LEAST_SECONDS, Job

OVERTIME = 2.0
GRACE = 45.0
"""A section is ended after twice its time, plus these seconds."""

STARTING = 120.0
"""Timeout in seconds for a process to start its first section."""

LEAVING = 10.0
"""Timeout in seconds for a process to exit after its last section."""

TAIL = 6000
"""Number of last characters of console.log to show if a process ends early."""

Result = dict[str, Any]
Tell = Callable[[Section, Result], None]


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A section without a result when its process ends or is ended."""

    section: Section
    seconds: float
    overran: bool


@dataclass(slots=True)
class Supervisor:
    """Runs sections within a time limit, and collects one result per section.

    Attributes
    ----------
    sections
        Sections to run, in this order.
    seconds
        Time limit for all of them.
    out
        Folder of results; sections' output goes to its console.log.
    device, smoke, data
        See `tools.gpu.outcome.Setting`.
    environment
        Environment variables of the sections' processes.
    tell
        Called with each section's result.
    grace
        Seconds that a section may take beyond twice its time.
    starting
        Timeout in seconds for a process to start a section.
    """

    sections: Sequence[Section]
    seconds: float
    out: Path
    device: str
    smoke: bool
    data: Path | None
    environment: Mapping[str, str]
    tell: Tell
    grace: float = GRACE
    starting: float = STARTING
    results: dict[str, Result] = field(default_factory=dict)

    def run(self) -> dict[str, Result]:
        """Run the sections, and return their results by name: done, failed or left out."""
        end = time.perf_counter() + self.seconds
        while rest := [section for section in self.sections if section.name not in self.results]:
            left = end - time.perf_counter()
            if self.results and left < LEAST_SECONDS:
                break
            before = len(self.results)
            self._process(rest, max(left, 2 * LEAST_SECONDS))
            if len(self.results) == before:
                break
        for section in self.sections:
            if section.name not in self.results:
                why = f"the {self.seconds / 60:g} minutes were over; --minutes allows more time"
                self._settle(section, {"status": "left out", "error": why})
        return {section.name: self.results[section.name] for section in self.sections}

    def _settle(self, section: Section, result: Result) -> None:
        self.results[section.name] = result
        self.tell(section, result)

    def _process(self, rest: Sequence[Section], seconds: float) -> None:
        """Run sections in one process until it ends, or a section overruns its time."""
        known = {section.name: section for section in rest}
        reading, writing = os.pipe()
        data = None if self.data is None else str(self.data)
        words = [(section.name, section.module, section.weight) for section in rest]
        # The folder for scratch data is this process's: a section that is ended can't remove its own.
        with (
            tempfile.TemporaryDirectory(prefix="gpu-check-", ignore_cleanup_errors=True) as scratch,
            (self.out / "console.log").open("ab") as log,
            os.fdopen(reading, "rb") as pipe,
        ):
            job = Job(words, seconds, writing, self.device, self.smoke, str(self.out), scratch, data)
            process = subprocess.Popen(
                [sys.executable, "-m", "tools.gpu.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                env=dict(self.environment),
                start_new_session=True,
            )
            os.close(writing)
            try:
                assert process.stdin is not None
                with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
                    stdin.write(json.dumps(asdict(job)).encode())
                under_way = self._follow(pipe.fileno(), known)
                if under_way is None or not under_way.overran:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(LEAVING)
            finally:
                status = process.poll()  # None where it must be ended
                # Including processes that a section left behind.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if under_way is None and status:
            # It crashed between two sections, or before the first.
            under_way = self._next(0.0, False)
        if under_way is not None:
            why = "took too long and was ended"
            if status is not None and not under_way.overran:
                why = f"ended with {_status(status)}"
            tail = (self.out / "console.log").read_text(encoding="utf-8", errors="replace")[-TAIL:]
            error = f"the section's process {why}, after {under_way.seconds:.0f} seconds"
            failed = {"status": "failed", "error": error, "trace": tail, "seconds": under_way.seconds}
            self._settle(under_way.section, failed)

    def _follow(self, pipe: int, known: Mapping[str, Section]) -> UnderWay | None:
        """Receive results until the pipe is closed; return the section without a result, if any."""
        under_way: Section | None = None
        begin, limit, unread = time.perf_counter(), self.starting, b""
        while True:
            left = limit - (time.perf_counter() - begin)
            if not select.select([pipe], [], [], max(0.0, left))[0]:
                taken = time.perf_counter() - begin
                return self._next(taken, True) if under_way is None else UnderWay(under_way, taken, True)
            piece = os.read(pipe, 1 << 16)
            if not piece:
                return None if under_way is None else UnderWay(under_way, time.perf_counter() - begin, False)
            *lines, unread = (unread + piece).split(b"\n")
            for line in lines:
                message = json.loads(line)
                section = known[message["section"]]
                if "result" in message:
                    self._settle(section, message["result"])
                    under_way, limit = None, self.starting
                else:
                    under_way, limit = section, OVERTIME * message["share"] + self.grace
                begin = time.perf_counter()

    def _next(self, seconds: float, overran: bool) -> UnderWay | None:
        """Return the first section without a result, which its process didn't reach."""
        rest = [section for section in self.sections if section.name not in self.results]
        return UnderWay(rest[0], seconds, overran) if rest else None


def _status(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"
