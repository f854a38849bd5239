"""The service in its three modes: the same orders, states and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sampler_runs import assert_same
from service_runs import MODES, run, take_step

from samplers import PSGD, SAMPLERS, Feedback, InfoBatch, Kakurenbo, Order, Plan, SamplingError, Uniform
from samplers.service import Service
from samplers.service.service import Mode


@pytest.mark.parametrize("mode", MODES)
def test_without_a_lead_orders_are_the_samplers_own(plan: Plan, mode: Mode) -> None:
    with Service(PSGD().build(plan), plan, mode=mode) as service:
        assert_same(run(service), run(PSGD().build(plan)))


@pytest.mark.parametrize("lead", [1, 3, 99])
def test_the_modes_give_the_same_orders_at_the_same_lead(plan: Plan, lead: int) -> None:
    results = []
    for mode in MODES:
        with Service(PSGD().build(plan), plan, mode=mode, lead=lead) as service:
            results.append(run(service))
    assert_same(results[1], results[0])
    assert_same(results[2], results[0])
    late = np.concatenate([order.ids for order in results[0]])
    exact = np.concatenate([order.ids for order in run(PSGD().build(plan))])
    assert (late != exact).any()  # what came after the lead's step is missing


@pytest.mark.filterwarnings("ignore:at most half:samplers.errors.SamplingWarning")
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_runs_in_a_thread(plan: Plan, name: str) -> None:
    results = []
    for mode in MODES[:2]:
        with Service(SAMPLERS[name]().build(plan), plan, mode=mode, lead=2) as service:
            results.append(run(service))
    assert_same(*results)


@pytest.mark.parametrize("part", [InfoBatch(), Kakurenbo()], ids=["weights", "scores and learning rates"])
def test_all_fields_of_an_order_come_through_a_process(plan: Plan, part: Any) -> None:
    results = []
    for mode in ("inline", "process"):
        with Service(part.build(plan), plan, mode=mode, lead=2) as service:
            results.append(run(service))
    assert_same(*results)
    if isinstance(part, InfoBatch):
        assert any(order.weights is not None for order in results[0])
    else:
        assert any(order.score_ids is not None for order in results[0])


def test_an_order_after_scores_waits_for_them_whatever_the_lead(plan: Plan) -> None:
    step, waited = 0, 0
    with Service(Kakurenbo().build(plan), plan, lead=3) as service:
        for _ in range(plan.rounds):
            order = service.next_order()
            for at in range(0, len(order.ids), 8):
                step += 1
                take_step(service, order, at, step)
            assert service._asked == (order.score_ids is None and order.round + 1 < plan.rounds)
            waited += order.score_ids is not None
    assert waited


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("save_at", [1, 4, 5, 12, 27])
def test_a_state_saved_at_any_step_goes_on_the_same_in_any_mode(plan: Plan, mode: Mode, save_at: int) -> None:
    with Service(PSGD().build(plan), plan, lead=2) as service:
        expected = run(service)
    with Service(PSGD().build(plan), plan, mode=mode, lead=2) as service:
        state, orders, done = run(service, save_at)
    for other in ("inline", "thread") if mode == "process" else ("inline",):
        with Service(PSGD().build(plan), plan, mode=other, lead=2) as service:
            service.load_state_dict(state)
            step, order, resumed = save_at, orders[-1], []  # type: ignore[var-annotated]
            for at in range(done + 8, len(order.ids), 8):
                step += 1
                take_step(service, order, at, step)
            while len(orders) + len(resumed) < service.rounds:
                resumed.append(service.next_order())
                for at in range(0, len(resumed[-1].ids), 8):
                    step += 1
                    take_step(service, resumed[-1], at, step)
        assert_same(resumed, expected[len(orders) :])


def test_a_state_loads_into_a_process(plan: Plan) -> None:
    with Service(PSGD().build(plan), plan, lead=2) as service:
        state, *_ = run(service, 27)
        expected = service.next_order()
    with Service(PSGD().build(plan), plan, mode="process", lead=2) as service:
        service.load_state_dict(state)
        assert_same([service.next_order()], [expected])


@pytest.mark.parametrize("mode", MODES)
def test_what_the_sampler_raises_is_raised_here(plan: Plan, mode: Mode) -> None:
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
def test_more_orders_than_rounds_are_refused_and_the_state_can_still_be_saved(plan: Plan, mode: Mode) -> None:
    with Service(Uniform().build(plan), plan, mode=mode) as service:
        for _ in range(service.rounds):
            service.next_order()
        with pytest.raises(SamplingError, match="at most 8 times"):
            service.next_order()
        assert service.state_dict()["round"] == 8


def test_a_service_runs_any_sampler_of_the_protocol() -> None:
    class Countdown:
        """The protocol and nothing else."""

        rounds = 3

        def __init__(self) -> None:
            self.left, self.heard = 3, 0

        def next_order(self) -> Any:
            self.left -= 1
            return Order(2 - self.left, np.full(4, self.heard))

        def observe(self, feedback: Any) -> None:
            if feedback.loss.max() > 5:
                raise ValueError("too much")
            self.heard += len(feedback.ids)

        def state_dict(self) -> Any:
            return {"left": self.left, "heard": self.heard}

        def load_state_dict(self, state: Any) -> None:
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
def test_options_out_of_range_are_refused(plan: Plan, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        Service(PSGD().build(plan), plan, **options)


def test_a_samplers_own_state_is_refused(plan: Plan) -> None:
    sampler = PSGD().build(plan)
    refused = pytest.raises(SamplingError, match="must come from a service")
    with Service(PSGD().build(plan), plan) as service, refused:
        service.load_state_dict(sampler.state_dict())
