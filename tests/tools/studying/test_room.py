"""Cores, GPUs and memory for runs side by side."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.machine import cores
from tools.studying.room import check_memory, fits, resident, slots
from trainer.errors import RunError

GB = 10**9


def test_one_run_has_all_cores() -> None:
    (slot,) = slots(1, ["cpu"])
    assert slot.cores == ()
    assert slot.gpu is None


def test_cores_and_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.studying.room.cores", lambda: 5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 4}, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-7")
    shared = slots(2, ["cuda"])
    assert [slot.cores for slot in shared] == [(0, 1), (2, 3)]
    assert [slot.gpu for slot in slots(3, ["auto"])] == ["3", "GPU-7", "3"]
    assert [slot.gpu for slot in slots(2, ["cpu"])] == [None, None]
    assert [slot.gpu for slot in slots(2, ["cuda:1"])] == [None, None]


def test_more_threads_than_cores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.studying.room.cores", lambda: 4)
    assert len(slots(1, ["cpu"], 16)) == 1
    with pytest.raises(RunError, match="at most 2 for runs of 2 threads on 4 cores; got 3"):
        slots(3, ["cpu"], 2)


@pytest.mark.parametrize("jobs", [0, -1, 10_000])
def test_more_runs_than_cores_are_refused(jobs: int) -> None:
    with pytest.raises(RunError, match=f"at most the {cores()} cores that this process may use; got {jobs}"):
        slots(jobs, [])


def test_memory_that_runs_under_way_will_take_is_kept_for_them() -> None:
    assert fits(2 * GB, [], free=3 * GB)
    assert not fits(2 * GB, [], free=2 * GB)
    assert fits(2 * GB, [2 * GB], free=3 * GB)
    assert not fits(2 * GB, [GB // 2], free=3 * GB)


def test_more_runs_than_memory_holds_are_refused() -> None:
    check_memory(2, 2 * GB, free=5 * GB)
    with pytest.raises(RunError, match=r"the 2\.00 GB that it takes; 5\.00 GB are free, enough for 2; got 3"):
        check_memory(3, 2 * GB, free=5 * GB)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_memory_of_a_process() -> None:
    assert resident(os.getpid()) > 10**7
    assert resident(2**30) == 0
