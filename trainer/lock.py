"""Lock of a run folder: only one process (and its ranks) trains in it at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.formats import disk
from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import unwritable
from pipeline.text import parsed
from trainer.errors import RunError

BEAT = 5.0
"""Seconds between updates of the lock file by its holder."""

_MINE = ("host", "boot", "namespace", "pid", "started")


class RunLock:
    """Holds the file ``lock`` of a run folder, which names the process that trains there.

    On one machine the kernel's file lock decides, which is released however its holder ends. If a file system
    has no locks, or locks that other machines don't see, the file's content decides: a process of this
    machine is looked up by its id and start time, since ids are reused; one of another machine is assumed to
    be alive if it updates the file, as a holder does every `BEAT` seconds. The lock of a process that has
    ended is taken over.

    Raises
    ------
    RunError
        If another process holds it.
    DataError
        If the folder isn't writable.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"
        self._made = [place for place in (folder, folder.parent) if not place.exists()]
        self._content = dumps(_this_process())
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._open()
        except OSError as error:
            raise unwritable(self.path, error) from None
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="run lock", daemon=True)
        self._beating.start()

    def check(self) -> None:
        """Check that this process still holds the lock.

        Raises
        ------
        RunError
            If another process has taken it over, after this one was stopped for so long that it seemed dead.
        """
        if _read(self.path) != json.loads(self._content):
            raise RunError(
                f"{self.path} must name this process, which trains in its folder; it names "
                f"{_named(_read(self.path))}: leave the run to that one"
            )

    def release(self) -> None:
        """Release the lock, and remove the folder if it is empty."""
        self._ended.set()
        self._beating.join()
        with contextlib.suppress(OSError, RunError):
            self.check()
            self.path.unlink()
        with contextlib.suppress(OSError):
            os.close(self._file)
        for place in self._made:
            # A folder that isn't empty is kept.
            with contextlib.suppress(OSError):
                place.rmdir()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _open(self) -> int:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            holder = _read(self.path)
            try:
                free = not _lives(holder, self.path, seen=disk.lock(descriptor))
            except BlockingIOError:
                free = False
            if not free:
                raise RunError(
                    f"a run must be trained by one process at a time; {_named(holder)} trains in "
                    f"{self.path.parent}: wait for it, or choose another --name"
                )
            if not os.path.samestat(os.fstat(descriptor), self.path.stat()):
                # The holder removed the file between our opening and locking it.
                raise FileNotFoundError
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, self._content.encode(), 0)
            disk.sync(descriptor)
        except FileNotFoundError:
            os.close(descriptor)
            return self._open()
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            # An update that fails now may succeed later: a full disk, an unreachable server.
            with contextlib.suppress(OSError):
                os.utime(self._file)


def holder(folder: Path) -> str | None:
    """Return the process that trains in a run folder, in words; None if there is none.

    Raises
    ------
    RunError
        If the folder's lock can't be looked at.
    """
    path = folder / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path} can't be looked at ({error.strerror or error}): mend that") from None
    named = _read(path)
    try:
        return _named(named) if _lives(named, path, seen=disk.lock(descriptor)) else None
    except BlockingIOError:
        return _named(named)
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = parsed(json.loads, path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _named(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid', '?')} on {holder.get('host', 'an unknown host')}"


def _lives(holder: dict[str, Any], path: Path, *, seen: bool) -> bool:
    """Return whether the process named in a lock file may still be running.

    Parameters
    ----------
    seen
        Whether the kernel's lock was free; False if there is no such lock.
    """
    if not all(key in holder for key in _MINE):
        return False
    here = _this_process()
    if here["boot"] and holder["boot"] == here["boot"]:
        if holder["namespace"] == here["namespace"]:
            return bool(holder["started"] == process_started(holder["pid"]))
        if seen:
            # Another container of this machine, with the same kernel, whose lock was free.
            return False
    elif holder["host"] == here["host"]:
        return False
    before = path.stat().st_mtime_ns
    time.sleep(2.4 * BEAT)
    # Opening the file makes a network file system query its server.
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime_ns != before


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "boot": _text(Path("/proc/sys/kernel/random/boot_id")),
        "namespace": _link("/proc/self/ns/pid"),
        "pid": os.getpid(),
        "started": process_started(os.getpid()),
    }


def process_started(pid: object) -> str | None:
    """Return the start time of a process in the kernel's ticks; None if there is none, or it has ended."""
    text = _text(Path(f"/proc/{pid}/stat"))
    # The second field is the program's name in parentheses, which may contain any characters.
    fields = text.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""
