"""Processes and memory that fail the service: one error each, with the way out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sampler_runs import assert_same
from service_runs import pid_of, run, shared_files, take_step, worker_of

from samplers import PSGD, Plan, SamplingError, Uniform
from samplers.service import Service
from samplers.service import shared_memory as arena_module


@pytest.mark.parametrize("busy", [False, True])
def test_a_process_that_dies_is_an_error_that_names_its_exit(plan: Plan, busy: bool) -> None:
    with Service(PSGD().build(plan), plan, mode="process") as service:
        order = service.next_order()
        if busy:
            os.kill(pid_of(service), signal.SIGSTOP)
            service.ask()
        os.kill(pid_of(service), signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(SamplingError, match="was ended by signal 9"):
                service.next_order()
        take_step(service, order, 0, 1)  # feedback to nobody doesn't hang either
        with pytest.raises(SamplingError, match="was ended by signal 9"):
            service.state_dict()


def test_a_process_that_fails_is_an_error_that_names_its_exit(plan: Plan) -> None:
    sampler = Uniform().build(plan)
    # Breaks next_order in a way that is no SamplingError.
    sampler.plan = None  # type: ignore[assignment]
    ended = pytest.raises(SamplingError, match="ended with exit status 1")
    with Service(sampler, plan, mode="process") as service, ended:
        service.next_order()


def test_a_process_that_does_not_answer_is_given_up(plan: Plan) -> None:
    with Service(PSGD().build(plan), plan, mode="process", patience=30) as service:
        worker_of(service)._patience = 0.5
        pid = pid_of(service)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(SamplingError, match=r"must reply within 0\.5 seconds"):
                service.next_order()
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("lead", [0, 2])
def test_an_order_that_was_late_is_still_given(plan: Plan, lead: int) -> None:
    with Service(PSGD().build(plan), plan, lead=lead) as service:
        expected = run(service)
    with Service(PSGD().build(plan), plan, mode="process", lead=lead) as service:
        worker = worker_of(service)
        patience = worker._patience
        orders = _run_some(service, 2)
        worker._patience = 0
        os.kill(pid_of(service), signal.SIGSTOP)
        try:
            for call in (service.next_order, service.next_order, service.state_dict):
                with pytest.raises(SamplingError, match="must reply within 0 seconds"):
                    call()
        finally:
            os.kill(pid_of(service), signal.SIGCONT)
        worker._patience = patience
        state = service.state_dict()
        orders.append(service.next_order())
    assert_same(orders, expected[:3])
    with Service(PSGD().build(plan), plan, lead=lead) as service:
        service.load_state_dict(state)
        assert_same([service.next_order()], expected[2:3])


def _run_some(service: Service, rounds: int) -> Any:
    orders, step = [], 0
    for _ in range(rounds):
        orders.append(service.next_order())
        for at in range(0, len(orders[-1].ids), 8):
            step += 1
            take_step(service, orders[-1], at, step)
    return orders


def test_a_process_that_cannot_be_started_is_an_error(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    before = shared_files()
    with pytest.raises(SamplingError, match=r"needs to start .*none; it can't be started .*in a thread"):
        Service(PSGD().build(plan), plan, mode="process")
    assert shared_files() == before


def test_no_room_for_shared_memory_is_an_error(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(arena_module.os, "posix_fallocate", full)  # type: ignore[attr-defined]
    before = shared_files()
    with pytest.raises(SamplingError, match=r"No space left on device.*in a thread"):
        Service(PSGD().build(plan), plan, mode="process")
    assert shared_files() == before


def test_an_interrupt_while_shared_memory_is_made_leaves_none(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(handle: int, offset: int, size: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(arena_module.os, "posix_fallocate", stop)  # type: ignore[attr-defined]
    before = shared_files()
    with pytest.raises(KeyboardInterrupt):
        Service(PSGD().build(plan), plan, mode="process")
    assert shared_files() == before


NARROW = """
import os, resource, sys
from pathlib import Path
from samplers import PSGD, Plan, SamplingError
from samplers.service import Service

def left():
    mine = f"samplers-{os.getpid()}-*"
    files = [file for folder in ("/dev/shm", "/tmp") for file in Path(folder).glob(mine)]
    return files, os.listdir("/proc/self/fd")

plan = Plan(samples=2_000_000, epochs=2, budget=1.0, batch_size=64, seed=0)
sampler = PSGD().build(plan)
before = left()
# The file has room, and the process's addresses don't.
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 10_000_000, -1))
try:
    Service(sampler, plan, mode="process")
except SamplingError as error:
    print(error)
assert left() == before, (left(), before)
"""


def test_memory_that_cannot_be_mapped_is_an_error_and_leaves_no_file() -> None:
    done = subprocess.run([sys.executable, "-c", NARROW], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "there is none ([Errno 12] Cannot allocate memory): run it in a thread" in done.stdout
