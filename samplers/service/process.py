"""A sampler in a separate process: the parent's side."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from samplers.draws import threads
from samplers.errors import LateAnswerError, SamplingError
from samplers.plan import Plan
from samplers.protocol import Feedback, Order, Sampler, State
from samplers.service.shared_memory import BLOCKS, ROWS, Arena, RowsNote, optional_columns

_LOOK = 0.2  # seconds between checks that the child process is alive
_MOST_SCORED = 1 << 20  # most ids to score that fit into shared memory; more go through the pipe


class ProcessWorker:
    """Sends feedback and requests to the process and receives its replies, never blocking a training step.

    Feedback rows are copied into blocks of shared memory. A block is sent when it is full or before a
    request, and is free again when the child has read it; while no block is free, rows are queued here. A
    listener thread receives replies, copies orders out on arrival, and detects the end of the process.

    Parameters
    ----------
    sampler
        Pickled to the process.
    plan
        Bounds the size of orders.
    patience
        Timeout in seconds for a reply.
    """

    def __init__(self, sampler: Sampler, plan: Plan, patience: float) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._free = list(range(BLOCKS))
        self._outbox: deque[tuple[str, Any]] = deque()
        self._open: RowsNote | None = None
        self._expected: deque[Future[Any]] = deque()
        self._order: Future[Order] = Future()
        self._failure: str | None = None
        largest = max(plan.samples, plan.largest) + plan.batch_size
        scored = min(plan.samples, _MOST_SCORED)
        try:
            self._arena = Arena(largest, scored)
        except OSError as error:
            raise SamplingError(
                f"a sampler in a process needs shared memory; there is none ({error}): run it in a thread"
            ) from error
        try:
            self._process, self._messages, answers = _start()
        except BaseException as error:
            self._arena.close()  # nothing else refers to it yet
            if not isinstance(error, OSError):
                raise
            raise SamplingError(
                f"a sampler in a process needs to start {sys.executable}; it can't be started ({error}): "
                "run it in a thread"
            ) from error
        self._finalizer = weakref.finalize(self, _end, self._process, self._messages, self._arena)
        self._listener = threading.Thread(
            target=_listen, args=(weakref.ref(self), answers), name="samplers-listener", daemon=True
        )
        self._listener.start()
        try:
            self._wait(self._post("begin", (sampler, largest, scored, self._arena.path, threads.in_use())))
        except BaseException:
            self.close()
            raise
        self._arena.forget_name()

    # Called by the service.

    def observe(self, feedback: Feedback) -> None:
        """Copy rows into shared memory, or queue them while no block is free."""
        for start in range(0, len(feedback.ids), ROWS):
            self._write(feedback.rows(slice(start, start + ROWS)))

    def ask(self) -> None:
        """Request the next order."""
        self._order = self._post("ask")

    def take(self) -> Order:
        """Wait for the requested order; after a timeout, waiting again is possible."""
        order: Order = self._wait(self._order)
        return order

    def save(self) -> State:
        """Return the state after all feedback and requests sent so far."""
        state: State = self._wait(self._post("save"))
        return state

    def load(self, state: State) -> None:
        """Load a state into the sampler, and wait until this is done."""
        self._wait(self._post("load", state))

    def close(self) -> None:
        """End the process and release the memory; further calls do nothing."""
        self.fail("a sampler must be used before it is closed; it has been closed")
        self._finalizer()
        if self._listener is not threading.current_thread():
            self._listener.join()

    # Outgoing.

    def _write(self, rows: Feedback) -> None:
        note = self._open
        if note is not None and (note.count + len(rows.ids) > ROWS or note.has != optional_columns(rows)):
            self._seal()
        if self._open is not None:
            self._open = self._arena.write_rows(self._open.block, self._open.count, rows)
            return
        with self._lock:
            block = self._free.pop() if self._free and not self._outbox else None
        if block is None:
            self._outbox.append(("late rows", rows.copy()))
            self._pump()
        else:
            self._open = self._arena.write_rows(block, 0, rows)

    def _seal(self) -> None:
        if self._open is not None:
            self._outbox.append(("rows", self._open))
            self._open = None
            self._pump()

    def _post(self, kind: str, content: object = None) -> Future[Any]:
        self._seal()
        future: Future[Any] = Future()
        with self._lock:
            self._expected.append(future)
        self._outbox.append((kind, content))
        self._pump()
        if self._failure is not None:
            self.fail(self._failure)
        return future

    def _pump(self) -> None:
        # The listener calls this, too, when a block has come back.
        with self._lock:
            while self._outbox and self._failure is None:
                kind, content = self._outbox[0]
                if kind == "late rows":
                    if not self._free:
                        return
                    kind, content = "rows", self._arena.write_rows(self._free.pop(), 0, content)
                self._outbox.popleft()
                try:
                    self._messages.send((kind, content))
                except OSError:
                    return  # the process has ended, and the listener is about to notice

    # Incoming.

    def receive(self, kind: str, content: Any) -> None:
        """Handle one reply; called by the listener."""
        if kind == "free":
            with self._lock:
                self._free.append(content)
            self._pump()
        elif kind == "rows error":
            self.fail(content)
        elif (future := self._next_expected()) is not None:
            if kind == "error":
                future.set_exception(SamplingError(content))
            else:
                future.set_result(self._arena.read_order(content) if kind == "order" else content)

    def _next_expected(self) -> Future[Any] | None:
        with self._lock:
            return self._expected.popleft() if self._expected else None

    def ended(self) -> None:
        """Handle the end of the process; called by the listener."""
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            how = "has closed its connection"
        else:
            how = f"ended with exit status {status}" if status >= 0 else f"was ended by signal {-status}"
        self.fail(
            f"a sampler's process must live as long as the run; it {how}: see above for what it printed, "
            "or run the sampler in a thread"
        )

    def fail(self, why: str) -> None:
        """Make all pending and later requests raise; the first reason is kept."""
        self._failure = self._failure or why
        while (future := self._next_expected()) is not None:
            future.set_exception(SamplingError(self._failure))

    def _wait(self, future: Future[Any]) -> Any:
        limit = time.monotonic() + self._patience
        while True:
            try:
                return future.result(timeout=_LOOK)
            except TimeoutError:
                if not self._listener.is_alive():
                    self.ended()
                elif time.monotonic() > limit:
                    raise LateAnswerError(
                        f"a sampler's process must reply within {self._patience:g} seconds; it hasn't: "
                        "raise patience, or run the sampler in a thread"
                    ) from None


def _start() -> tuple[subprocess.Popen[bytes], Connection, Connection]:
    root = str(Path(__file__).parents[2])
    program = f"import sys; sys.path.insert(0, {root!r}); from samplers.service.worker import main; main()"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    messages = Connection(os.dup(process.stdin.fileno()), readable=False)
    answers = Connection(os.dup(process.stdout.fileno()), writable=False)
    process.stdin.close()
    process.stdout.close()
    return process, messages, answers


def _listen(worker: weakref.ref[ProcessWorker], answers: Connection) -> None:
    # Refers to the worker only while delivering a reply, so that an unused worker can be garbage-collected.
    with contextlib.closing(answers):
        while True:
            try:
                kind, content = answers.recv()
            except (EOFError, OSError):
                target = worker()
                if target is not None:
                    target.ended()
                return
            target = worker()
            if target is None:
                return
            target.receive(kind, content)
            del target


def _end(process: subprocess.Popen[bytes], messages: Connection, arena: Arena) -> None:
    with contextlib.suppress(OSError, ValueError):
        messages.send(("stop", None))
    messages.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    arena.close()
