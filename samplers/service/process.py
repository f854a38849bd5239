"""A sampler in a process of its own, seen from this side."""

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

_LOOK = 0.2  # seconds between looks at whether the other side still lives
_MOST_SCORED = 1 << 20  # ids to score that fit into shared memory; more go through the pipe


class ProcessWorker:
    """Sends rows and requests, and takes answers in, without ever making a training step wait.

    Rows are copied into blocks of shared memory. A block goes off when it is full or something is asked
    for, and comes back when the other side has read it; while all are on their way, rows wait here. A
    thread listens for answers, copies orders out as they come, and notices when the other side has ended.

    Parameters
    ----------
    sampler
        Is pickled to the process as it is.
    plan
        Bounds how large an order can be.
    patience
        Seconds after which an answer that doesn't come is an error.
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
        sizes = [plan.size(number) for number in range(plan.rounds)]
        largest = max(plan.samples, *sizes) + plan.batch_size
        scored = min(plan.samples, _MOST_SCORED)
        try:
            self._arena = Arena(largest, scored)
        except OSError as error:
            raise SamplingError(
                f"a sampler in a process needs memory to share; there is none to be had ({error}): "
                "run it in a thread"
            ) from error
        try:
            self._process, self._messages, answers = _start()
        except BaseException as error:
            self._arena.close()  # nothing else knows of it yet
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

    # What the service calls.

    def observe(self, feedback: Feedback) -> None:
        """Copy rows into shared memory, or keep them here while there is no room."""
        for start in range(0, len(feedback.ids), ROWS):
            self._write(feedback.rows(slice(start, start + ROWS)))

    def ask(self) -> None:
        """Ask for the next order."""
        self._order = self._post("ask")

    def take(self) -> Order:
        """Wait for the order asked for; after a timeout it may be waited for again."""
        order: Order = self._wait(self._order)
        return order

    def save(self) -> State:
        """Wait for the state behind all that was sent."""
        state: State = self._wait(self._post("save"))
        return state

    def load(self, state: State) -> None:
        """Have a state loaded."""
        self._wait(self._post("load", state))

    def close(self) -> None:
        """End the process and give the memory back; further calls do nothing."""
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
                    return  # the other side has ended, and the listener is about to know

    # Incoming.

    def receive(self, kind: str, content: Any) -> None:
        """Take one answer in; the listener calls this."""
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
        """Take in that no more answers will come; the listener calls this."""
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
        """Let everything that is waited for, now and later, raise; the first reason stands."""
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
                        f"a sampler's process must answer within {self._patience:g} seconds; it hasn't: "
                        "give it more patience, or run the sampler in a thread"
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
    # Holds the worker only while it hands an answer over, so that one that nobody uses any more can go.
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
