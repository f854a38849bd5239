"""Memory and cores available to a process, or a container's limits."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipeline.machine import cores, free_memory, memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has control groups")

CORES = len(os.sched_getaffinity(0))
MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def lay_out(root: Path, process: str, limits: dict[str, str]) -> tuple[Path, Path]:
    """Write what the kernel would show: the groups of a process, and files of the groups."""
    (root / "cgroup").write_text(process)
    for name, text in limits.items():
        path = root / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root / "cgroup", root / "groups"


@pytest.mark.parametrize(
    ("process", "limits", "expected"),
    [
        # Version 2: of the group and those around it, the lowest; root groups of machines have no such file.
        ("0::/a/b\n", {"a/b/memory.max": "3000000"}, 3_000_000),
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "2000000"}, 2_000_000),
        ("0::/a/b\n", {"a/b/memory.max": "1000000", "a/memory.max": "2000000"}, 1_000_000),
        ("0::/a/b:c\n", {"a/b:c/memory.max": "1000000", "a/b/memory.max": "5"}, 1_000_000),
        ("0::/\n", {"memory.max": "4000000"}, 4_000_000),
        # The groups of others, and limits above the machine's memory, say nothing.
        ("0::/a\n", {"a/memory.max": "max", "a/c/memory.max": "5", "b/memory.max": "5"}, MACHINE),
        ("0::/a\n", {"a/memory.max": str(2 * MACHINE)}, MACHINE),
        # Version 1, also where the container's own group is mounted under another name, and beside version 2.
        ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "3000000"}, 3_000_000),
        ("4:cpu,memory:/a/b\n", {"memory/memory.limit_in_bytes": "3000000"}, 3_000_000),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "9223372036854771712"}, MACHINE),
        ("5:cpu:/a\n4:memory:/\n", {"cpu/a/memory.limit_in_bytes": "5", "a/memory.max": "5"}, MACHINE),
        # Nothing to be read.
        ("", {}, MACHINE),
        ("0::/a\n", {"a/memory.max/x": "5"}, MACHINE),
    ],
)
def test_the_lowest_limit_of_memory_holds(
    process: str, limits: dict[str, str], expected: int, tmp_path: Path
) -> None:
    assert memory(*lay_out(tmp_path, process, limits)) == expected


AVAILABLE = "MemTotal:       2000 kB\nMemFree:         10 kB\nMemAvailable:    900 kB\n"


@pytest.mark.parametrize(
    ("process", "limits", "expected"),
    [
        ("0::/a\n", {}, 900 << 10),
        ("0::/a\n", {"a/memory.max": "max", "a/memory.current": "5"}, 900 << 10),
        ("0::/a\n", {"a/memory.max": "600000", "a/memory.current": "500000"}, 100_000),
        # What caches hold of files can be had; what tmpfs holds, or more than is used, can't.
        (
            "0::/a\n",
            {
                "a/memory.max": "600000",
                "a/memory.current": "500000",
                "a/memory.stat": "file 400000\ninactive_file 100000\nactive_file 50000\nshmem 250000",
            },
            250_000,
        ),
        (
            "0::/a/b\n",
            {
                "a/b/memory.max": "600000",
                "a/b/memory.current": "100000",
                "a/memory.max": "800000",
                "a/memory.current": "700000",
                "a/memory.stat": "inactive_file 9000000",
            },
            500_000,
        ),
        # A group may be beyond a limit that was lowered.
        ("0::/a\n", {"a/memory.max": "600000", "a/memory.current": "700000"}, 0),
        (
            "4:memory:/a\n",
            {
                "memory/a/memory.limit_in_bytes": "600000",
                "memory/a/memory.usage_in_bytes": "500000",
                "memory/a/memory.stat": "inactive_file 1\ntotal_inactive_file 40000\ntotal_active_file 2000",
            },
            142_000,
        ),
    ],
)
def test_what_is_free_is_what_the_tightest_group_leaves(
    process: str, limits: dict[str, str], expected: int, tmp_path: Path
) -> None:
    (tmp_path / "meminfo").write_text(AVAILABLE)
    assert free_memory(*lay_out(tmp_path, process, limits), tmp_path / "meminfo") == expected


def test_where_nothing_tells_what_is_free_all_is(tmp_path: Path) -> None:
    nowhere = tmp_path / "none"
    assert free_memory(nowhere, nowhere, nowhere) == MACHINE


def test_without_control_groups_the_machines_memory_is_all(tmp_path: Path) -> None:
    assert memory(tmp_path / "none", tmp_path / "none") == MACHINE


def test_this_process_has_memory() -> None:
    assert 0 < memory() <= MACHINE


@pytest.mark.parametrize(
    ("process", "limits", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "100000 100000"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "max 100000"}, CORES),
        # A part of a core is worth a thread; more than there are, no more threads.
        ("0::/\n", {"cpu.max": f"{CORES * 100000 - 50000} 100000"}, CORES),
        ("0::/\n", {"cpu.max": f"{CORES * 200000} 100000"}, CORES),
        (
            "3:cpu,cpuacct:/a\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "9", "cpu,cpuacct/a/cpu.cfs_period_us": "10"},
            1,
        ),
        ("3:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "9", "cpu/a/cpu.cfs_period_us": "10"}, 1),
        ("3:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "10"}, CORES),
        ("3:cpuset:/a\n", {"cpuset/a/cpu.cfs_quota_us": "9", "cpuset/a/cpu.cfs_period_us": "10"}, CORES),
        ("0::/\n", {"cpu.max": "0 0"}, CORES),
    ],
)
def test_the_lowest_limit_of_cores_holds(
    process: str, limits: dict[str, str], expected: int, tmp_path: Path
) -> None:
    assert cores(*lay_out(tmp_path, process, limits)) == expected


def test_this_process_has_cores() -> None:
    assert 1 <= cores() <= CORES
