"""Nothing of the service is left behind, however it or its program ends."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from service_runs import MODES, run, shared_files

from samplers import PSGD, Plan, SamplingError
from samplers.service import Service
from samplers.service.service import Mode

ROOT = Path(__file__).parents[3]


def _interrupted(plan: Plan, mode: Mode) -> None:
    with Service(PSGD().build(plan), plan, mode=mode, lead=1) as service:
        run(service, 7)
        raise KeyboardInterrupt


def _processes() -> set[int]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {int(child) for child in children}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["close", "error", "forgotten"])
def test_nothing_is_left_behind(plan: Plan, mode: Mode, how: str) -> None:
    threads, processes, shared = set(threading.enumerate()), _processes(), shared_files()
    if how == "error":
        with pytest.raises(KeyboardInterrupt):
            _interrupted(plan, mode)
    else:
        service = Service(PSGD().build(plan), plan, mode=mode, lead=1)
        run(service, 7)
        if how == "close":
            service.close()
            service.close()
            with pytest.raises(SamplingError, match="has been closed"):
                service.next_order()
    service = None  # type: ignore[assignment]
    gc.collect()
    deadline = time.monotonic() + 600
    while (set(threading.enumerate()) - threads or _processes() - processes) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = {thread.name for thread in set(threading.enumerate()) - threads}
    assert not {name for name in left if not name.startswith("samplers-draw")}
    assert _processes() == processes
    assert shared_files() == shared


def test_shared_memory_has_no_name_while_it_is_used(plan: Plan) -> None:
    before = shared_files()
    with Service(PSGD().build(plan), plan, mode="process"):
        assert shared_files() == before


@pytest.mark.parametrize("ending", ["return", "interrupt", "kill"])
def test_a_program_that_ends_takes_its_process_along(tmp_path: Path, ending: str) -> None:
    # The program has no main guard and never closes its service.
    script = tmp_path / "program.py"
    script.write_text(
        "import signal, sys, time\n"
        # A shell's background job starts with interrupts ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from samplers import PSGD, Plan\n"
        "from samplers.service.service import Service\n"
        "plan = Plan(50, epochs=3)\n"
        "service = Service(PSGD().build(plan), plan, mode='process')\n"
        "service.next_order()\n"
        "print(service._worker._process.pid, flush=True)\n"
        f"time.sleep(0 if {ending!r} == 'return' else 60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_DISABLE_JIT": "1"}
    program = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )
    child = int(program.stdout.readline())
    if ending != "return":
        program.send_signal(signal.SIGINT if ending == "interrupt" else signal.SIGKILL)
    _, errors = program.communicate(timeout=600)
    assert program.returncode == {"return": 0, "interrupt": -2, "kill": -9}[ending], errors
    deadline = time.monotonic() + 600
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid: Any) -> Any:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
