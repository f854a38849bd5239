"""Runs any sampler inline, in a thread or in a process, with the same four methods and the same orders."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np

from samplers.checks import check_at_least, check_choice
from samplers.draws.arrays import Doubles
from samplers.errors import LateAnswerError, SamplingError
from samplers.families.rounds import Statistic, check_feedback
from samplers.plan import Plan
from samplers.protocol import Feedback, Order, Sampler, State
from samplers.service.process import ProcessWorker

Mode = Literal["inline", "thread", "process"]


class Worker(Protocol):
    """Executes the sampler's methods. Calls take effect in the order in which they are made."""

    def observe(self, feedback: Feedback) -> None:
        """Pass feedback on, without waiting."""

    def ask(self) -> None:
        """Request the next order, without waiting."""

    def take(self) -> Order:
        """Wait for the requested order and return it."""

    def save(self) -> State:
        """Wait for the sampler's state and return it."""

    def load(self, state: State) -> None:
        """Load a state into the sampler."""

    def close(self) -> None:
        """Release all resources; may be called again."""


class InlineWorker:
    """Runs the sampler in the calling thread."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._order: Order | None = None

    def observe(self, feedback: Feedback) -> None:
        """Pass feedback on."""
        self._sampler.observe(feedback)

    def ask(self) -> None:
        """Draw the next order."""
        self._order = self._sampler.next_order()

    def take(self) -> Order:
        """Return the order drawn."""
        assert self._order is not None
        return self._order

    def save(self) -> State:
        """Return the sampler's state."""
        return self._sampler.state_dict()

    def load(self, state: State) -> None:
        """Load a state."""
        self._sampler.load_state_dict(state)

    def close(self) -> None:
        """Do nothing: there are no resources to release."""


class ThreadWorker:
    """Runs the sampler in one thread, which executes calls in sequence."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="samplers-service")
        self._order: Future[Order] | None = None
        self._problem: Exception | None = None

    def _observe(self, feedback: Feedback) -> None:
        try:
            self._sampler.observe(feedback)
        except Exception as error:
            self._problem = self._problem or error  # raised by the next call that waits

    def _call(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        def run() -> Any:
            if self._problem is not None:
                raise self._problem
            return function(*args)

        return self._thread.submit(run)

    def observe(self, feedback: Feedback) -> None:
        """Copy feedback and pass it on in the thread."""
        self._thread.submit(self._observe, feedback.copy())

    def ask(self) -> None:
        """Draw the next order in the thread."""
        self._order = self._call(self._sampler.next_order)

    def take(self) -> Order:
        """Wait for the order and return it."""
        assert self._order is not None
        return self._order.result()

    def save(self) -> State:
        """Wait for the sampler's state and return it."""
        state: State = self._call(self._sampler.state_dict).result()
        return state

    def load(self, state: State) -> None:
        """Load a state into the sampler, and wait until this is done."""
        self._call(self._sampler.load_state_dict, state).result()

    def close(self) -> None:
        """End the thread, after its current call."""
        self._thread.shutdown(cancel_futures=True)


class Service:
    """A sampler that draws its next order while the current one is trained on.

    With ``lead`` 0 an order is drawn when ``next_order`` is called, from all feedback observed before, as by
    the sampler itself. With a lead of n steps it is drawn from the feedback up to n steps before the
    round's end: ``observe`` starts drawing when ``feedback.step`` reaches that step. Later feedback enters
    the order after that. So orders depend on which feedback was observed before which step, and never on
    timing: at the same lead, the three modes return the same orders, bit for bit.

    After an order that requests scores, the lead is 0, so that the next order uses them.

    ========  =====================================  ==============================================
    mode      runs                                    wait at a round's start
    ========  =====================================  ==============================================
    inline    in the calling thread                   none; drawing blocks ``observe`` at the lead's step
    thread    in a thread; kernels release the GIL    none once drawn
    process   in a process; shared-memory feedback    none once drawn; no work in the calling process
    ========  =====================================  ==============================================

    Use it as a context manager, or call ``close``, to release the thread, process and memory.

    Parameters
    ----------
    sampler
        Any sampler; not to be called directly any more.
    plan
        The plan that it was built from.
    mode
        Where the sampler runs.
    lead
        Steps before a round's end at which the next order is drawn.
    patience
        Timeout in seconds for a process.

    Raises
    ------
    SamplingError
        From any method: errors of the sampler; if its process has ended (the message names the exit status)
        or doesn't reply in time. The next call waits again for an order that is late.
    """

    def __init__(
        self, sampler: Sampler, plan: Plan, *, mode: Mode = "inline", lead: int = 0, patience: float = 600
    ) -> None:
        check_choice("mode", mode, ("inline", "thread", "process"))
        check_at_least("lead", lead, 0)
        self.plan = plan
        self.rounds = sampler.rounds
        self.size: Callable[[int], int] = getattr(sampler, "size", plan.size)
        self.notes: tuple[str, ...] = getattr(sampler, "notes", ())
        self.lead = lead
        self._needs: tuple[Statistic, ...] = getattr(sampler, "needs", ("loss",))
        self._given = 0
        self._end = 0
        self._early = False
        self._asked = False
        self._ready: Order | None = None
        self._closed = False
        self._worker: Worker
        if mode == "inline":
            self._worker = InlineWorker(sampler)
        elif mode == "thread":
            self._worker = ThreadWorker(sampler)
        else:
            self._worker = ProcessWorker(sampler, plan, patience)

    def __repr__(self) -> str:
        worker = type(self._worker).__name__.removesuffix("Worker").lower()
        return f"Service({worker}, lead {self.lead}: {self._given} of {self.rounds} rounds)"

    def ask(self) -> None:
        """Start drawing the next order from all feedback so far, unless this has been done already.

        For a loop with other work between its last feedback and the next round.
        """
        self._check_open()
        if not self._asked:
            self._worker.ask()
            self._asked = True

    def next_order(self) -> Order:
        """Return the next order, drawn at the lead's step or now."""
        self.ask()
        order = self._take()
        self._asked, self._ready = False, None
        self._given += 1
        self._end += len(order.ids) // self.plan.batch_size
        self._early = self.lead > 0 and order.score_ids is None and self._given < self.rounds
        return order

    def _take(self) -> Order:
        if self._ready is None:
            try:
                self._ready = self._worker.take()
            except LateAnswerError:
                raise  # it will still arrive: requesting another would skip its round
            except SamplingError:
                self._asked = False
                raise
        return self._ready

    def observe(self, feedback: Feedback) -> None:
        """Pass feedback on, and start drawing the next order at the lead's step."""
        self._check_open()
        if self._needs and len(feedback.ids):
            check_feedback(feedback, self.plan.samples, self._needs)
            self._worker.observe(feedback)
        if self._early and not self._asked and feedback.step >= self._end - self.lead:
            self.ask()

    def state_dict(self) -> State:
        """Return a copy of all state that the remaining orders depend on, including an order drawn ahead."""
        self._check_open()
        state: State = {
            "service.given": self._given,
            "service.end": self._end,
            "service.early": int(self._early),
        }
        if self._asked:
            order = self._take()
            state["ready.round"] = order.round
            state["ready.lr_scale"] = order.lr_scale
            for name in ("ids", "weights", "score_ids"):
                values = getattr(order, name)
                if values is not None:
                    state[f"ready.{name}"] = values.copy()
        return {**state, **self._worker.save()}

    def importance(self) -> Doubles | None:
        """Return w of `SampleImportance`, float64[N], NaN before epoch E; None for other samplers."""
        found: Doubles | None = self.state_dict().get("memory.importance")
        return found

    def load_state_dict(self, state: State) -> None:
        """Restore a service's state, saved in any mode."""
        self._check_open()
        if "service.given" not in state:
            raise SamplingError("a service's state must come from a service; got a sampler's own")
        if self._asked:
            self._take()
        own = {key: value for key, value in state.items() if not key.startswith(("service.", "ready."))}
        self._worker.load(own)
        self._given = int(state["service.given"])
        self._end = int(state["service.end"])
        self._early = bool(state["service.early"])
        self._asked = "ready.ids" in state
        self._ready = _order(state) if self._asked else None

    def close(self) -> None:
        """Release the thread, process and shared memory; may be called again."""
        self._closed = True
        self._worker.close()

    def _check_open(self) -> None:
        if self._closed:
            raise SamplingError("a service must be used before it is closed; it has been closed")

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _order(state: dict[str, Any]) -> Order:
    arrays = {name: state.get(f"ready.{name}") for name in ("ids", "weights", "score_ids")}
    ids, weights, scored = (None if array is None else np.array(array) for array in arrays.values())
    assert ids is not None
    return Order(int(state["ready.round"]), ids, weights, scored, float(state["ready.lr_scale"]))
