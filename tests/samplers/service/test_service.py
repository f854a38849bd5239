"""The service in its three modes: the same orders, nothing left behind, clear ends."""

from __future__ import annotations

import dataclasses
import functools
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from samplers import PSGD, SAMPLERS, Feedback, InfoBatch, Kakurenbo, Order, Plan, SamplingError, Uniform
from samplers.service import Service
from samplers.service import shared_memory as arena_module

MODES = ["inline", "thread", "process"]
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _quick_processes(request, monkeypatch):
    # Spares the processes started here the compilation; their orders are the same (a contract).
    if "many_rows" not in request.node.name:
        started = functools.partial(subprocess.Popen, env={**os.environ, "NUMBA_DISABLE_JIT": "1"})
        monkeypatch.setattr(subprocess, "Popen", started)


@pytest.fixture
def plan():
    return Plan(90, epochs=8, budget=0.5, batch_size=8, seed=4, labels=np.arange(90) % 3)


def _step(sampler, order, at, step):
    ids = order.ids[at : at + 8]
    noise = np.random.default_rng([order.round, at]).random(len(ids)).astype(np.float32)
    p_true = (0.05 + 0.9 * noise).astype(np.float32)
    trained, progress = np.ones(len(ids), bool), min(1.0, step / 30)
    sampler.observe(Feedback(step, ids, -np.log(p_true), p_true, trained, progress=progress))


def _run(sampler, save_at=None):
    """Train to the end; with ``save_at`` give the state after that many steps and stop."""
    orders, step = [], 0
    for _ in range(sampler.rounds):
        orders.append(sampler.next_order())
        for at in range(0, len(orders[-1].ids), 8):
            step += 1
            _step(sampler, orders[-1], at, step)
            if step == save_at:
                return sampler.state_dict(), orders, at
        if orders[-1].score_ids is not None:
            ids = orders[-1].score_ids
            p_true = np.full(len(ids), 0.75, np.float32)
            sampler.observe(Feedback(step, ids, -np.log(p_true), p_true, np.zeros(len(ids), bool)))
    return orders


def _assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        for field in dataclasses.fields(Order):
            a, b = getattr(one, field.name), getattr(other, field.name)
            assert (a is None) == (b is None)
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mode", MODES)
def test_without_a_lead_orders_are_the_samplers_own(plan, mode):
    with Service(PSGD().build(plan), plan, mode=mode) as service:
        _assert_same(_run(service), _run(PSGD().build(plan)))


@pytest.mark.parametrize("lead", [1, 3, 99])
def test_the_modes_give_the_same_orders_at_the_same_lead(plan, lead):
    results = []
    for mode in MODES:
        with Service(PSGD().build(plan), plan, mode=mode, lead=lead) as service:
            results.append(_run(service))
    _assert_same(results[1], results[0])
    _assert_same(results[2], results[0])
    late = np.concatenate([order.ids for order in results[0]])
    exact = np.concatenate([order.ids for order in _run(PSGD().build(plan))])
    assert (late != exact).any()  # what came after the lead's step is missing


@pytest.mark.filterwarnings("ignore:at most half:samplers.errors.SamplingWarning")
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_runs_in_a_thread(plan, name):
    results = []
    for mode in MODES[:2]:
        with Service(SAMPLERS[name]().build(plan), plan, mode=mode, lead=2) as service:
            results.append(_run(service))
    _assert_same(*results)


@pytest.mark.parametrize("part", [InfoBatch(), Kakurenbo()], ids=["weights", "scores and learning rates"])
def test_all_fields_of_an_order_come_through_a_process(plan, part):
    results = []
    for mode in ("inline", "process"):
        with Service(part.build(plan), plan, mode=mode, lead=2) as service:
            results.append(_run(service))
    _assert_same(*results)
    if isinstance(part, InfoBatch):
        assert any(order.weights is not None for order in results[0])
    else:
        assert any(order.score_ids is not None for order in results[0])


def test_an_order_after_scores_waits_for_them_whatever_the_lead(plan):
    step, waited = 0, 0
    with Service(Kakurenbo().build(plan), plan, lead=3) as service:
        for _ in range(plan.rounds):
            order = service.next_order()
            for at in range(0, len(order.ids), 8):
                step += 1
                _step(service, order, at, step)
            assert service._asked == (order.score_ids is None and order.round + 1 < plan.rounds)
            waited += order.score_ids is not None
    assert waited


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("save_at", [1, 4, 5, 12, 27])
def test_a_state_saved_at_any_step_goes_on_the_same_in_any_mode(plan, mode, save_at):
    with Service(PSGD().build(plan), plan, lead=2) as service:
        expected = _run(service)
    with Service(PSGD().build(plan), plan, mode=mode, lead=2) as service:
        state, orders, done = _run(service, save_at)
    for other in ("inline", "thread") if mode == "process" else ("inline",):
        with Service(PSGD().build(plan), plan, mode=other, lead=2) as service:
            service.load_state_dict(state)
            step, order, resumed = save_at, orders[-1], []
            for at in range(done + 8, len(order.ids), 8):
                step += 1
                _step(service, order, at, step)
            while len(orders) + len(resumed) < service.rounds:
                resumed.append(service.next_order())
                for at in range(0, len(resumed[-1].ids), 8):
                    step += 1
                    _step(service, resumed[-1], at, step)
        _assert_same(resumed, expected[len(orders) :])


def test_a_state_loads_into_a_process(plan):
    with Service(PSGD().build(plan), plan, lead=2) as service:
        state, *_ = _run(service, 27)
        expected = service.next_order()
    with Service(PSGD().build(plan), plan, mode="process", lead=2) as service:
        service.load_state_dict(state)
        _assert_same([service.next_order()], [expected])


@pytest.mark.parametrize("mode", MODES)
def test_what_the_sampler_raises_is_raised_here(plan, mode):
    with Service(PSGD().build(plan), plan, mode=mode) as service:
        order = service.next_order()
        ones = np.ones(3, np.float32)
        with pytest.raises(SamplingError, match="needs p_true"):
            service.observe(Feedback(1, order.ids[:3], ones, None, np.ones(3, bool)))
        with pytest.raises(SamplingError, match="got 90"):
            service.observe(Feedback(1, np.array([1, 2, 90]), ones, ones, np.ones(3, bool)))
        bad = np.array([1, np.nan, 1], np.float32)
        service.observe(Feedback(1, order.ids[:3], ones, bad, np.ones(3, bool)))
        for _ in range(2):
            with pytest.raises(SamplingError, match=f"finite; got nan for sample {order.ids[1]}"):
                service.next_order()


@pytest.mark.parametrize("mode", MODES)
def test_more_orders_than_rounds_are_refused_and_the_state_can_still_be_saved(plan, mode):
    with Service(Uniform().build(plan), plan, mode=mode) as service:
        for _ in range(service.rounds):
            service.next_order()
        with pytest.raises(SamplingError, match="at most 8 times"):
            service.next_order()
        assert service.state_dict()["round"] == 8


@pytest.mark.parametrize("mode", MODES)
def test_many_rows_go_through_however_they_are_cut(mode):
    # More rows than all blocks of shared memory hold, in one call and in uneven ones.
    plan = Plan(1000, epochs=4, budget=0.3, seed=1)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 1000, 700_000)
    p_true = rng.random(700_000).astype(np.float32)
    coefficient = rng.random(700_000).astype(np.float32)
    rows = Feedback(1, ids, p_true, p_true, np.ones(700_000, bool), coefficient)
    expected = PSGD().build(plan)
    expected.observe(rows)
    with Service(PSGD().build(plan), plan, mode=mode) as service:
        service.observe(rows)
        np.testing.assert_array_equal(service.next_order().ids, expected.next_order().ids)
        for start in range(0, 700_000, 33_333):
            part = slice(start, start + 33_333)
            cut = Feedback(2, ids[part], p_true[part], p_true[part], rows.trained[part])
            service.observe(cut)
            expected.observe(cut)
        np.testing.assert_array_equal(service.next_order().ids, expected.next_order().ids)


def test_many_rows_wait_here_while_the_process_is_busy():
    plan = Plan(1000, epochs=4, budget=0.3, seed=1)
    expected = PSGD().build(plan)
    rng = np.random.default_rng(0)
    with Service(PSGD().build(plan), plan, mode="process") as service:
        os.kill(service._worker._process.pid, signal.SIGSTOP)
        ids, p_true = np.empty(50_000, np.int64), np.empty(50_000, np.float32)
        for _ in range(14):  # more than all blocks hold; each call writes over the last one's arrays
            ids[:], p_true[:] = rng.integers(0, 1000, 50_000), rng.random(50_000)
            rows = Feedback(1, ids, p_true, p_true, np.ones(50_000, bool))
            service.observe(rows)
            expected.observe(rows)
        os.kill(service._worker._process.pid, signal.SIGCONT)
        np.testing.assert_array_equal(service.next_order().ids, expected.next_order().ids)


def test_feedback_may_be_written_over_after_it_was_given(plan):
    orders = []
    for mode in MODES:
        with Service(PSGD().build(plan), plan, mode=mode) as service:
            ids, p_true = np.arange(90), np.linspace(0, 1, 90, dtype=np.float32)
            service.observe(Feedback(1, ids, p_true, p_true, np.ones(90, bool)))
            ids[...], p_true[...] = 0, 0
            orders.append(service.next_order())
    _assert_same(orders[1:], [orders[0]] * 2)


def test_an_order_too_long_for_shared_memory_comes_another_way(plan, monkeypatch):
    monkeypatch.setattr("samplers.service.process._MOST_SCORED", 1)
    results = []
    for mode in ("inline", "process"):
        with Service(Kakurenbo().build(plan), plan, mode=mode) as service:
            results.append(_run(service))
    _assert_same(*results)
    assert max(len(o.score_ids) for o in results[0] if o.score_ids is not None) > 1


def _interrupted(plan, mode):
    with Service(PSGD().build(plan), plan, mode=mode, lead=1) as service:
        _run(service, 7)
        raise KeyboardInterrupt


def _processes():
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {int(child) for child in children}


def _shared():
    # Of this process: other tests run beside this one.
    mine = f"samplers-{os.getpid()}-*"
    return {file.name for folder in ("/dev/shm", "/tmp") for file in Path(folder).glob(mine)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["close", "error", "forgotten"])
def test_nothing_is_left_behind(plan, mode, how):
    threads, processes, shared = set(threading.enumerate()), _processes(), _shared()
    if how == "error":
        with pytest.raises(KeyboardInterrupt):
            _interrupted(plan, mode)
    else:
        service = Service(PSGD().build(plan), plan, mode=mode, lead=1)
        _run(service, 7)
        if how == "close":
            service.close()
            service.close()
            with pytest.raises(SamplingError, match="has been closed"):
                service.next_order()
    service = None
    gc.collect()
    deadline = time.monotonic() + 600
    while (set(threading.enumerate()) - threads or _processes() - processes) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = {thread.name for thread in set(threading.enumerate()) - threads}
    assert not {name for name in left if not name.startswith("samplers-draw")}
    assert _processes() == processes
    assert _shared() == shared


def test_shared_memory_has_no_name_while_it_is_used(plan):
    before = _shared()
    with Service(PSGD().build(plan), plan, mode="process"):
        assert _shared() == before


@pytest.mark.parametrize("busy", [False, True])
def test_a_process_that_dies_is_an_error_that_names_its_exit(plan, busy):
    with Service(PSGD().build(plan), plan, mode="process") as service:
        order = service.next_order()
        if busy:
            os.kill(service._worker._process.pid, signal.SIGSTOP)
            service.ask()
        os.kill(service._worker._process.pid, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(SamplingError, match="was ended by signal 9"):
                service.next_order()
        _step(service, order, 0, 1)  # feedback to nobody doesn't hang either
        with pytest.raises(SamplingError, match="was ended by signal 9"):
            service.state_dict()


def test_a_process_that_fails_is_an_error_that_names_its_exit(plan):
    sampler = Uniform().build(plan)
    sampler.plan = None  # breaks next_order in a way that is no SamplingError
    ended = pytest.raises(SamplingError, match="ended with exit status 1")
    with Service(sampler, plan, mode="process") as service, ended:
        service.next_order()


def test_a_process_that_does_not_answer_is_given_up(plan):
    with Service(PSGD().build(plan), plan, mode="process", patience=30) as service:
        service._worker._patience = 0.5
        pid = service._worker._process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(SamplingError, match=r"must reply within 0\.5 seconds"):
                service.next_order()
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("lead", [0, 2])
def test_an_order_that_was_late_is_still_given(plan, lead):
    with Service(PSGD().build(plan), plan, lead=lead) as service:
        expected = _run(service)
    with Service(PSGD().build(plan), plan, mode="process", lead=lead) as service:
        worker = service._worker
        patience = worker._patience
        orders = _run_some(service, 2)
        worker._patience = 0
        os.kill(worker._process.pid, signal.SIGSTOP)
        try:
            for call in (service.next_order, service.next_order, service.state_dict):
                with pytest.raises(SamplingError, match="must reply within 0 seconds"):
                    call()
        finally:
            os.kill(worker._process.pid, signal.SIGCONT)
        worker._patience = patience
        state = service.state_dict()
        orders.append(service.next_order())
    _assert_same(orders, expected[:3])
    with Service(PSGD().build(plan), plan, lead=lead) as service:
        service.load_state_dict(state)
        _assert_same([service.next_order()], expected[2:3])


def _run_some(service, rounds):
    orders, step = [], 0
    for _ in range(rounds):
        orders.append(service.next_order())
        for at in range(0, len(orders[-1].ids), 8):
            step += 1
            _step(service, orders[-1], at, step)
    return orders


def test_a_process_that_cannot_be_started_is_an_error(plan, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    before = _shared()
    with pytest.raises(SamplingError, match=r"needs to start .*none; it can't be started .*in a thread"):
        Service(PSGD().build(plan), plan, mode="process")
    assert _shared() == before


def test_no_room_for_shared_memory_is_an_error(plan, monkeypatch):
    def full(handle, offset, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(arena_module.os, "posix_fallocate", full)
    before = _shared()
    with pytest.raises(SamplingError, match=r"No space left on device.*in a thread"):
        Service(PSGD().build(plan), plan, mode="process")
    assert _shared() == before


def test_an_interrupt_while_shared_memory_is_made_leaves_none(plan, monkeypatch):
    def stop(handle, offset, size):
        raise KeyboardInterrupt

    monkeypatch.setattr(arena_module.os, "posix_fallocate", stop)
    before = _shared()
    with pytest.raises(KeyboardInterrupt):
        Service(PSGD().build(plan), plan, mode="process")
    assert _shared() == before


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


def test_memory_that_cannot_be_mapped_is_an_error_and_leaves_no_file():
    done = subprocess.run([sys.executable, "-c", NARROW], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "there is none ([Errno 12] Cannot allocate memory): run it in a thread" in done.stdout


@pytest.mark.parametrize("ending", ["return", "interrupt", "kill"])
def test_a_program_that_ends_takes_its_process_along(tmp_path, ending):
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


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_service_runs_any_sampler_of_the_protocol():
    class Countdown:
        """Four methods and nothing else."""

        def __init__(self):
            self.left, self.heard = 3, 0

        def next_order(self):
            self.left -= 1
            return Order(2 - self.left, np.full(4, self.heard))

        def observe(self, feedback):
            if feedback.loss.max() > 5:
                raise ValueError("too much")
            self.heard += len(feedback.ids)

        def state_dict(self):
            return {"left": self.left, "heard": self.heard}

        def load_state_dict(self, state):
            self.left, self.heard = state["left"], state["heard"]

    plan = Plan(10, epochs=3, batch_size=2)
    for mode in MODES[:2]:
        with Service(Countdown(), plan, mode=mode) as service:
            assert service.next_order().ids.tolist() == [0] * 4
            ones = np.ones(5, np.float32)
            service.observe(Feedback(1, np.arange(5), ones, None, np.ones(5, bool)))
            assert service.next_order().ids.tolist() == [5] * 4
            assert service.state_dict()["heard"] == 5
    with Service(Countdown(), plan, mode="thread") as service:
        service.observe(Feedback(1, np.arange(5), ones * 9, None, np.ones(5, bool)))
        with pytest.raises(ValueError, match="too much"):
            service.next_order()


@pytest.mark.parametrize(
    ("options", "message"), [({"mode": "fibre"}, "mode must be one of"), ({"lead": -1}, "lead")]
)
def test_options_out_of_range_are_refused(plan, options, message):
    with pytest.raises(SamplingError, match=message):
        Service(PSGD().build(plan), plan, **options)


def test_a_samplers_own_state_is_refused(plan):
    sampler = PSGD().build(plan)
    refused = pytest.raises(SamplingError, match="must come from a service")
    with Service(PSGD().build(plan), plan) as service, refused:
        service.load_state_dict(sampler.state_dict())
