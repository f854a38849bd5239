"""What of the machine this process may use: cores and memory, or less where a container sets a limit.

Linux limits a process by the control groups that it is in, each within the groups around it: version 2 has
one tree of them, version 1 one a controller.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROCESS = Path("/proc/self/cgroup")
"""The kernel's list of the control groups that a process is in."""

GROUPS = Path("/sys/fs/cgroup")
"""Where control groups are mounted."""

MEMORY = Path("/proc/meminfo")
"""The kernel's account of the machine's memory."""

MOST_THREADS = 1024
"""More than any machine has a use for, and fewer than systems refuse to start."""


def cores(process: Path = PROCESS, groups: Path = GROUPS) -> int:
    """Count the processor cores that this process may use, at least 1; a part of one counts as one."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _folders("cpu", process, groups):
        limit = _numbers(folder / "cpu.max") or [
            *_numbers(folder / "cpu.cfs_quota_us"),
            *_numbers(folder / "cpu.cfs_period_us"),
        ]
        # Microseconds of processor time, in a period of so many.
        if len(limit) == 2 and all(limit):
            count = min(count, math.ceil(limit[0] / limit[1]))
    return count


def memory(process: Path = PROCESS, groups: Path = GROUPS) -> int:
    """Bytes of memory that this process may have."""
    amounts = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder in _folders("memory", process, groups):
        amounts += _numbers(folder / "memory.max") or _numbers(folder / "memory.limit_in_bytes")
    return min(amounts)


def free_memory(process: Path = PROCESS, groups: Path = GROUPS, machine: Path = MEMORY) -> int:
    """Bytes that this process and others of its group can still have: what caches hold of files counts.

    A group's use counts its file cache, most of which the kernel gives up for anything else.
    """
    amounts = [memory(process, groups)]
    amounts += [1024 * kilobytes for kilobytes in _named(machine, "MemAvailable:")]
    for folder in _folders("memory", process, groups):
        limit = _numbers(folder / "memory.max") or _numbers(folder / "memory.limit_in_bytes")
        used = _numbers(folder / "memory.current") or _numbers(folder / "memory.usage_in_bytes")
        if limit and used:
            # Version 1 counts the groups within a group under names of their own.
            cached = _named(folder / "memory.stat", "total_inactive_file", "total_active_file")
            cached = cached or _named(folder / "memory.stat", "inactive_file", "active_file")
            amounts.append(max(0, limit[0] - used[0] + min(used[0], sum(cached))))
    return min(amounts)


def address_space() -> int | None:
    """Bytes that this process alone can still ask for under ``ulimit -v``; None where that sets no limit."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return None
    return None if limit == resource.RLIM_INFINITY else max(0, limit - used)


def processes() -> int:
    """Processes that torchrun started on this machine to train together; 1 without it."""
    count = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, int(count)) if count.isdecimal() else 1


def _folders(controller: str, process: Path, groups: Path) -> Iterator[Path]:
    """Give the folders of the process's own group and of those around it that may limit it."""
    try:
        lines = process.read_text(errors="surrogateescape").splitlines()
    except OSError:
        # Only Linux has control groups.
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controller in controllers.split(","):
            roots = {groups / controllers, groups / controller}
        elif not controllers:
            roots = {groups}
        else:
            continue
        # A group has no more than the groups around it. Within a container its own may have another name.
        group = PurePosixPath(name.lstrip("/"))
        for folder in (group, *group.parents):
            yield from (root / folder for root in roots)


def _numbers(file: Path) -> list[int]:
    """Whole numbers of a file that holds nothing else; none where there is no limit, or no file."""
    with contextlib.suppress(OSError):
        words = file.read_text().split()
        if all(word.isdecimal() for word in words):
            return [int(word) for word in words]
    return []


def _named(file: Path, *names: str) -> list[int]:
    """The numbers that stand behind some of a file's lines' first words; none where there is no such file."""
    with contextlib.suppress(OSError):
        lines = [line.split() for line in file.read_text().splitlines()]
        return [int(words[1]) for words in lines if len(words) > 1 and words[0] in names]
    return []
