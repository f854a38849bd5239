"""Runs any sampler in line, in a thread or in a process, with the same four methods and the same orders."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np

from samplers.checks import check_at_least, check_choice
from samplers.draws.arrays import Doubles
from samplers.errors import LateAnswerError, SamplingError
from samplers.families.rounds import Heard, check_feedback
from samplers.plan import Plan
from samplers.protocol import Feedback, Order, Sampler, State
from samplers.service.process import ProcessWorker

Mode = Literal["inline", "thread", "process"]


class Worker(Protocol):
    """Where the sampler runs. Calls take effect in the order that they are made."""

    def observe(self, feedback: Feedback) -> None:
        """Pass rows on, without waiting."""

    def ask(self) -> None:
        """Ask for the next order, without waiting."""

    def take(self) -> Order:
        """Wait for the order asked for."""

    def save(self) -> State:
        """Wait for the sampler's state."""

    def load(self, state: State) -> None:
        """Have the sampler go on from a state."""

    def close(self) -> None:
        """Leave nothing behind; may be called again."""


class InlineWorker:
    """Runs the sampler in the calls themselves."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._order: Order | None = None

    def observe(self, feedback: Feedback) -> None:
        """Pass rows on."""
        self._sampler.observe(feedback)

    def ask(self) -> None:
        """Draw the next order."""
        self._order = self._sampler.next_order()

    def take(self) -> Order:
        """Give it."""
        assert self._order is not None
        return self._order

    def save(self) -> State:
        """Return the sampler's state."""
        return self._sampler.state_dict()

    def load(self, state: State) -> None:
        """Load a state."""
        self._sampler.load_state_dict(state)

    def close(self) -> None:
        """Do nothing: there is nothing to leave behind."""


class ThreadWorker:
    """Runs the sampler in one thread, call after call."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="samplers-service")
        self._order: Future[Order] | None = None
        self._problem: Exception | None = None

    def _observe(self, feedback: Feedback) -> None:
        try:
            self._sampler.observe(feedback)
        except Exception as error:
            self._problem = self._problem or error  # nobody waits here; the next who does gets it

    def _call(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        def run() -> Any:
            if self._problem is not None:
                raise self._problem
            return function(*args)

        return self._thread.submit(run)

    def observe(self, feedback: Feedback) -> None:
        """Copy rows and have them passed on."""
        self._thread.submit(self._observe, feedback.copy())

    def ask(self) -> None:
        """Have the next order drawn."""
        self._order = self._call(self._sampler.next_order)

    def take(self) -> Order:
        """Wait for it."""
        assert self._order is not None
        return self._order.result()

    def save(self) -> State:
        """Wait for the sampler's state."""
        state: State = self._call(self._sampler.state_dict).result()
        return state

    def load(self, state: State) -> None:
        """Have a state loaded."""
        self._call(self._sampler.load_state_dict, state).result()

    def close(self) -> None:
        """End the thread, after what it is doing."""
        self._thread.shutdown(cancel_futures=True)


class Service:
    """A sampler that prepares its next order while the current one is trained on.

    With ``lead`` 0 an order is drawn when it is asked for, from all feedback given before: exactly as by
    the sampler itself. With a lead of n steps it is drawn from the feedback up to n steps before the
    round's end: ``observe`` starts the drawing when ``feedback.step`` reaches that step. What was heard
    later goes into the order after. So orders depend on which feedback was given before which step, and
    never on timing: the three modes give the same orders at the same lead, bit for bit.

    An order that asks for samples to be scored is followed by one that knows their scores: there the lead
    is 0.

    ========  =====================================  ==============================================
    mode      runs                                    wait at a round's start
    ========  =====================================  ==============================================
    inline    in the calls                            the drawing, at the lead's step
    thread    in a thread; kernels leave the GIL      none once drawn
    process   in a process, rows in shared memory     none once drawn; nothing of it here
    ========  =====================================  ==============================================

    Use it as a context manager, or call ``close``: no thread, process or memory is left behind.

    Parameters
    ----------
    sampler
        Any sampler; the service takes it over.
    plan
        The plan that it was built from.
    mode
        Where it runs.
    lead
        Steps before a round's end at which the next order is drawn.
    patience
        Seconds to wait for a process before giving up on it.

    Raises
    ------
    SamplingError
        From any method: what the sampler raises; when its process has ended, naming the exit status, or
        doesn't answer in time. An order that is late is waited for again by the next call.
    """

    def __init__(
        self, sampler: Sampler, plan: Plan, *, mode: Mode = "inline", lead: int = 0, patience: float = 600
    ) -> None:
        check_choice("mode", mode, ("inline", "thread", "process"))
        check_at_least("lead", lead, 0)
        self.plan = plan
        self.rounds: int = getattr(sampler, "rounds", plan.rounds)
        self.size: Callable[[int], int] = getattr(sampler, "size", plan.size)
        self.notes: tuple[str, ...] = getattr(sampler, "notes", ())
        self.lead = lead
        self._hears: tuple[Heard, ...] = getattr(sampler, "hears", ("loss",))
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

    def ask(self) -> None:
        """Have the next order drawn now, from all feedback given so far, unless it has been already.

        For a loop with something else to do between its last feedback and the next round.
        """
        self._check_open()
        if not self._asked:
            self._worker.ask()
            self._asked = True

    def next_order(self) -> Order:
        """Give the next order, drawn at the lead's step or now."""
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
                raise  # it's still on its way: asking for another would leave its round out
            except SamplingError:
                self._asked = False
                raise
        return self._ready

    def observe(self, feedback: Feedback) -> None:
        """Pass feedback on, and have the next order drawn when it reaches the lead's step."""
        self._check_open()
        if self._hears and len(feedback.ids):
            check_feedback(feedback, self.plan.samples, self._hears)
            self._worker.observe(feedback)
        if self._early and not self._asked and feedback.step >= self._end - self.lead:
            self.ask()

    def state_dict(self) -> State:
        """Copy all that the remaining orders depend on, an order drawn ahead among it."""
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
        """Return the w of `SampleImportance`, float64[N]: nan before epoch E; None for samplers without."""
        found: Doubles | None = self.state_dict().get("memory.importance")
        return found

    def load_state_dict(self, state: State) -> None:
        """Go on from a state of a service, whatever mode that ran in."""
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
        """Leave no thread, process or shared memory behind; may be called again."""
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
