"""CPU and memory available to this process, including limits by control groups (containers).

Linux limits a process by its control groups, which are nested: version 2 has a single hierarchy, version 1
one per controller.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROCESS = Path("/proc/self/cgroup")
"""The kernel's list of a process's control groups."""

GROUPS = Path("/sys/fs/cgroup")
"""Mount point of control groups."""

MEMORY = Path("/proc/meminfo")
"""The kernel's statistics of the machine's memory."""

MOST_THREADS = 1024
"""Upper limit on threads: more than any machine can use, fewer than systems refuse to start."""


def cores(process: Path = PROCESS, groups: Path = GROUPS) -> int:
    """Return the number of processor cores that this process may use, rounded up, at least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _folders("cpu", process, groups):
        limit = _numbers(folder / "cpu.max") or [
            *_numbers(folder / "cpu.cfs_quota_us"),
            *_numbers(folder / "cpu.cfs_period_us"),
        ]
        # Microseconds of processor time, and of the period in which they may be used.
        if len(limit) == 2 and all(limit):
            count = min(count, math.ceil(limit[0] / limit[1]))
    return count


def memory(process: Path = PROCESS, groups: Path = GROUPS) -> int:
    """Return the bytes of memory that this process may use."""
    amounts = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder in _folders("memory", process, groups):
        amounts += _numbers(folder / "memory.max") or _numbers(folder / "memory.limit_in_bytes")
    return min(amounts)


def free_memory(process: Path = PROCESS, groups: Path = GROUPS, machine: Path = MEMORY) -> int:
    """Return the bytes still available to this process and others of its group, file caches included.

    A group's usage includes its file cache, most of which the kernel releases on demand.
    """
    amounts = [memory(process, groups)]
    amounts += [1024 * kilobytes for kilobytes in _named(machine, "MemAvailable:")]
    for folder in _folders("memory", process, groups):
        limit = _numbers(folder / "memory.max") or _numbers(folder / "memory.limit_in_bytes")
        used = _numbers(folder / "memory.current") or _numbers(folder / "memory.usage_in_bytes")
        if limit and used:
            # Version 1 counts nested groups under separate names.
            cached = _named(folder / "memory.stat", "total_inactive_file", "total_active_file")
            cached = cached or _named(folder / "memory.stat", "inactive_file", "active_file")
            amounts.append(max(0, limit[0] - used[0] + min(used[0], sum(cached))))
    return min(amounts)


def address_space() -> int | None:
    """Return the bytes that this process can still allocate under ``ulimit -v``; None without a limit."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return None
    return None if limit == resource.RLIM_INFINITY else max(0, limit - used)


def share_of_cores() -> int:
    """Return the number of cores per process of those that train together on this machine, at least 1."""
    return max(1, cores() // processes())


def processes() -> int:
    """Return the number of training processes that torchrun started on this machine; 1 without it."""
    count = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, int(count)) if count.isdecimal() else 1


def _folders(controller: str, process: Path, groups: Path) -> Iterator[Path]:
    """Yield the folders of the process's group and of its ancestors."""
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
        # A group has no more than its ancestors. Within a container its own may have another name.
        group = PurePosixPath(name.lstrip("/"))
        for folder in (group, *group.parents):
            yield from (root / folder for root in roots)


def _numbers(file: Path) -> list[int]:
    """Return the integers in a file that holds nothing else; empty if there is no limit or no file."""
    with contextlib.suppress(OSError):
        words = file.read_text().split()
        if all(word.isdecimal() for word in words):
            return [int(word) for word in words]
    return []


def _named(file: Path, *names: str) -> list[int]:
    """Return the numbers after the given first words of a file's lines; empty if there is no such file."""
    with contextlib.suppress(OSError):
        lines = [line.split() for line in file.read_text().splitlines()]
        return [int(words[1]) for words in lines if len(words) > 1 and words[0] in names]
    return []
