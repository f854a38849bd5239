"""Reading ahead: errors at their turn, no thread left, no process kept."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from loader_orders import Order, mixing, random_order
from torch import Tensor

from pipeline import Loader
from pipeline.engines.ffcv import FfcvEngine
from pipeline.formats import Beton
from pipeline.loading.prefetch import Prefetch


def test_reads_ahead_and_no_further_than_asked(data: Beton) -> None:
    seen: list[int] = []

    def source() -> Iterator[int]:
        for number in range(100):
            seen.append(number)
            yield number

    ahead = Prefetch(source(), 3, "test")
    assert next(ahead) == 0
    deadline = time.monotonic() + 600
    while len(seen) < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    # Three are ready, and one more is in the thread's hand.
    assert seen == [0, 1, 2, 3, 4]
    assert list(ahead) == list(range(1, 100))
    ahead.close()


def test_an_exception_comes_after_the_items_before_it(no_thread_left: None) -> None:
    def source() -> Iterator[int]:
        yield from range(5)
        raise OSError("the disk is gone")

    ahead, taken = Prefetch(source(), 2, "test"), []
    for _ in range(5):
        taken.append(next(ahead))
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)
    assert taken == list(range(5))
    with pytest.raises(StopIteration):
        next(ahead)
    ahead.close()


def test_an_exception_in_the_loop_leaves_no_thread(jpegs: Beton, no_thread_left: None) -> None:
    loader = Loader(jpegs, engine=FfcvEngine(), batch_size=2, device="cpu")

    def train() -> None:
        for batch in loader.batches(Order(np.arange(1000))):
            raise RuntimeError(f"in step {batch.cursor.step}")

    with pytest.raises(RuntimeError, match="in step 0") as raised:
        train()
    assert not [thread for thread in threading.enumerate() if thread.name == "loader"]
    assert raised.tb is not None
    loader.close()


def test_iterators_that_are_dropped_or_never_used_leave_no_thread(jpegs: Beton, no_thread_left: None) -> None:
    loader = Loader(jpegs, engine=FfcvEngine(), batch_size=2, device="cpu")
    loader.batches(Order(np.arange(1000)))
    used = loader.batches(Order(np.arange(1000)))
    next(used)
    cycle: list[object] = [used]
    cycle.append(cycle)
    del used, cycle
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name == "loader"]
    loader.close()


def test_two_orders_at_once(jpegs: Beton, no_thread_left: None) -> None:
    with Loader(jpegs, engine=FfcvEngine(), batch_size=8, device="cpu") as loader:
        one, other = random_order(80, len(jpegs)), random_order(79, len(jpegs))
        pairs = list(zip(loader.batches(one), loader.batches(other), strict=True))
    assert [row for first, _ in pairs for row in first.ids] == one.ids.tolist()
    assert [row for _, second in pairs for row in second.ids] == other.ids.tolist()


@pytest.mark.parametrize("engine", ["FfcvEngine", "ResidentEngine"])
def test_ctrl_c_ends_the_process(data: Beton, engine: str) -> None:
    """Once in the loop's body, once while waiting for a batch: the process ends, and says what happened."""
    program = textwrap.dedent(
        f"""
        import signal, sys, threading, time, types
        import numpy as np
        from pipeline import Loader, open_dataset
        from pipeline.engines.ffcv import FfcvEngine
        from pipeline.engines.resident import ResidentEngine
        signal.signal(signal.SIGINT, signal.default_int_handler)
        data = open_dataset({str(data.path)!r})
        loader = Loader(data, engine={engine}(), batch_size=2, device="cpu")
        try:
            for batch in loader.batches(types.SimpleNamespace(round=0, ids=np.arange(1000), weights=None)):
                print("ready", flush=True)
                time.sleep(60)
        except KeyboardInterrupt:
            names = [thread.name for thread in threading.enumerate()]
            print("loader" in names, flush=True)
            raise
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert out == "False\n"
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode in (1, -signal.SIGINT, 130)


@pytest.mark.parametrize(("engine", "error"), [("FfcvEngine", False), ("DaliEngine", True)])
def test_an_iterator_in_use_does_not_keep_the_process(jpegs: Beton, engine: str, error: bool) -> None:
    """Its thread has read all it was asked for, and waits for more when the interpreter exits."""
    name = engine.removesuffix("Engine").lower()
    pytest.importorskip({"ffcv": "ffcv", "dali": "nvidia.dali"}[name])
    program = textwrap.dedent(
        f"""
        import sys, time, types
        import numpy as np
        from pipeline import Loader, open_dataset
        from pipeline.engines.{name} import {engine}
        loader = Loader(open_dataset({str(jpegs.path)!r}), engine={engine}(1), batch_size=8, device="cpu")
        batches = loader.batches(types.SimpleNamespace(round=0, ids=np.arange(32), weights=None))
        next(batches)
        time.sleep(0.5)
        print("done", flush=True)
        if {error}:
            raise RuntimeError("in the training step")
        """
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert ended.stdout == "done\n"
    assert ended.stderr.rstrip().endswith("RuntimeError: in the training step") == error
    assert ended.returncode == int(error)


def test_memory_does_not_grow_with_rounds(data: Beton) -> None:
    """Fifty rounds leave as many tensors behind as one does."""

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    with Loader(data, engine=FfcvEngine(), batch_size=64, augment=mixing(), device="cpu") as loader:
        for _ in loader.batches(random_order(200, len(data))):
            pass
        before = tensors()
        for round_ in range(50):
            for _ in loader.batches(random_order(200, len(data), round_)):
                pass
        del _
        assert tensors() <= before
