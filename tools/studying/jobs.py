"""Cells run side by side, each by `trainer run` in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Protocol

from pipeline.text import parsed
from tools.studying.calibration import command, environment
from tools.studying.cells import Cell
from tools.studying.room import Slot, fits, resident
from trainer.errors import RunError
from trainer.interrupt import Stop
from trainer.lock import holder

POLL = 0.2
"""Seconds between two looks at the runs."""

ORPHANS = 30.0
"""Seconds to wait for runs of a killed session, which save a checkpoint and end."""

KILLS = 20
"""Times that a run is started again in one session after it was killed."""

GROWTH = 1.25
"""Peak memory of a run by what it has in use once it trains, where no run has ended yet."""

DIVERGED = 3
STOPPED = 130


class Watcher(Protocol):
    """Is notified of what happens to cells."""

    def started(self, cell: Cell) -> None:
        """Notify of a run that was started, or resumed."""

    def ended(self, cell: Cell, ending: Ending) -> None:
        """Notify of a run that has ended."""

    def looked(self, waiting: Sequence[Cell], running: Sequence[Running]) -> None:
        """Notify of the state of things, several times per second."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended.

    Attributes
    ----------
    status
        Exit status of ``trainer run``; negative for the number of a signal that killed it.
    line
        The last line of its output: the error where it failed.
    peak
        The most memory that it had in use, in bytes; 0 where that isn't known.
    """

    status: int
    line: str
    peak: int

    @property
    def killed(self) -> bool:
        """Whether it was stopped from outside, and resumes when it is started again."""
        return self.status < 0 or self.status == STOPPED


@dataclass(slots=True)
class Running:
    """A run under way.

    Attributes
    ----------
    began
        Its progress when it was started, in [0, 1].
    started
        When that was, by `time.monotonic`.
    """

    cell: Cell
    slot: Slot
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    began: float
    started: float = field(default_factory=time.monotonic)

    @property
    def progress(self) -> float:
        """Fraction of its budget spent, by the last line of its steps.jsonl."""
        return progress(self.cell)

    @property
    def trains(self) -> bool:
        """Whether it has made steps since it was started."""
        return self.progress > self.began

    def ended(self) -> Ending | None:
        """Return how it ended; None while it runs."""
        pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if pid == 0:
            return None
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.log.close()
        return Ending(self.process.returncode, _last_line(self.cell), 1024 * usage.ru_maxrss)


def progress(cell: Cell) -> float:
    """Return the fraction of a cell's budget that its steps.jsonl says is spent; 0 without any step."""
    try:
        with (cell.folder / "steps.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = [line for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]
        return float(parsed(json.loads, lines[-1].decode())["progress"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return 0.0


class Queue:
    """Runs cells in their order, as many at a time as there are slots and as memory has room for.

    Parameters
    ----------
    peak
        Returns the bytes that a run takes at most; None where that isn't known yet.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        slots: Sequence[Slot],
        watcher: Watcher,
        peak: Callable[[], int | None],
    ) -> None:
        self.waiting = list(cells)
        self.running: list[Running] = []
        self._free = list(slots)
        self._watcher = watcher
        self._peak = peak
        self._kills: dict[str, int] = {}
        self._held: dict[str, tuple[Cell, str]] = {}
        self._held_since = time.monotonic()

    @property
    def held(self) -> dict[str, str]:
        """Cells whose folders other processes train in, and those processes in words."""
        return {name: named for name, (_, named) in self._held.items()}

    def run(self, stop: Stop) -> None:
        """Run all cells to their ends, or until ``stop`` is asked for; then the runs save checkpoints."""
        asked = False
        try:
            while self.waiting or self.running or self._held:
                if stop.asked and not asked:
                    asked = True
                    self.waiting.clear()
                    self._signal(signal.SIGTERM)
                self._reap()
                if stop.asked and not self.running:
                    return
                if not stop.asked:
                    if self.waiting or self.running:
                        self._held_since = time.monotonic()
                    self._start()
                    if not (self.waiting or self.running or self._await_held()):
                        return
                self._watcher.looked(self.waiting, self.running)
                time.sleep(POLL)
        finally:
            # Only where something went wrong here: runs must not outlive the study unseen.
            self._signal(signal.SIGTERM)

    def _start(self) -> None:
        while self.waiting and self._free and self._has_room():
            cell = self.waiting.pop(0)
            named = holder(cell.folder)
            if named is not None:
                self._held[cell.name] = cell, named
                continue
            self._held.pop(cell.name, None)
            if cell.finished:
                # By another session of the study beside this one.
                self._watcher.ended(cell, Ending(0, "", 0))
                continue
            self._begin(cell)

    def _begin(self, cell: Cell) -> None:
        slot = self._free.pop(0)
        cell.write_recipe()
        try:
            cell.log.parent.mkdir(parents=True, exist_ok=True)
            log = cell.log.open("ab")
        except OSError as error:
            raise RunError(f"{cell.log} can't be written ({error.strerror or error})") from None
        # A session of its own: Ctrl-C goes to the study, which passes it on.
        process = subprocess.Popen(
            command(["run", str(cell.recipe)], slot),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(slot),
            start_new_session=True,
        )
        self.running.append(Running(cell, slot, process, log, progress(cell)))
        self._watcher.started(cell)

    def _has_room(self) -> bool:
        """Whether memory has room for another run; the first one is always started."""
        if not self.running:
            return True
        used = [resident(run.process.pid) for run in self.running]
        peak = self._peak()
        if peak is None:
            if not all(run.trains for run in self.running):
                return False
            peak = int(GROWTH * max(used))
        return fits(peak, used)

    def _reap(self) -> None:
        for run in list(self.running):
            ending = run.ended()
            if ending is None:
                continue
            self.running.remove(run)
            self._free.insert(0, run.slot)
            if ending.killed and self._kills.get(run.cell.name, 0) < KILLS:
                self._kills[run.cell.name] = self._kills.get(run.cell.name, 0) + 1
                self.waiting.insert(0, run.cell)
                continue
            named = holder(run.cell.folder) if ending.status else None
            if named is not None:
                self._held[run.cell.name] = run.cell, named
                continue
            self._watcher.ended(run.cell, ending)

    def _await_held(self) -> bool:
        """Queue cells again that others trained and have left; whether to go on waiting for the rest."""
        for name, (cell, _) in list(self._held.items()):
            if holder(cell.folder) is None:
                del self._held[name]
                self.waiting.append(cell)
        waits = bool(self._held) and time.monotonic() - self._held_since < ORPHANS
        return bool(self.waiting) or waits

    def _signal(self, number: int) -> None:
        for run in self.running:
            # Not `send_signal`, which would take the exit status, and with it the peak of the memory.
            with contextlib.suppress(ProcessLookupError):
                os.kill(run.process.pid, number)


def _last_line(cell: Cell) -> str:
    try:
        lines = cell.log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].removeprefix("trainer run: ") if lines else ""
