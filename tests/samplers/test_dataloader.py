from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from samplers import PSGD, SAMPLERS, Feedback, InfoBatch, Plan, SamplingError
from samplers.dataloader import Batches, WithIds
from samplers.service import Service


@pytest.fixture
def plan() -> Plan:
    return Plan(50, epochs=6, budget=0.5, batch_size=8, seed=2, labels=np.arange(50) % 3)


def _feedback(ids: Any) -> Any:
    p_true = np.linspace(0.1, 0.9, len(ids), dtype=np.float32)
    return Feedback(1, np.array(ids), -np.log(p_true), p_true, np.ones(len(ids), bool))


@pytest.mark.filterwarnings("ignore:at most half:samplers.errors.SamplingWarning")
@pytest.mark.parametrize("name", SAMPLERS)
def test_an_iteration_is_a_round_and_its_length_is_known_before(plan: Plan, name: str) -> None:
    batches, other = Batches(SAMPLERS[name]().build(plan)), SAMPLERS[name]().build(plan)  # type: ignore[arg-type]
    for _ in range(batches.rounds):
        promised = len(batches)
        given = list(batches)
        order = other.next_order()
        assert len(given) == promised
        assert [type(batch) for batch in given] == [list] * promised
        assert [sample for batch in given for sample in batch] == order.ids.tolist()
        for batch in given:
            batches.sampler.observe(_feedback(batch))
            other.observe(_feedback(batch))
    with pytest.raises(SamplingError, match="at most"):
        next(iter(batches))


def test_a_round_under_way_can_be_saved_and_gone_on_with(plan: Plan) -> None:
    batches = Batches(InfoBatch().build(plan))
    list(batches)
    batches.sampler.observe(_feedback(range(50)))
    given = list(batches)
    weights = batches.order.weights
    state = batches.state_dict(done=2)
    rest = [list(batches) for _ in range(2)]
    resumed = Batches(InfoBatch().build(plan))
    resumed.load_state_dict(state)
    assert len(resumed) == len(given) - 2
    assert list(resumed) == given[2:]
    np.testing.assert_array_equal(resumed.order.weights, weights)
    assert [list(resumed) for _ in range(2)] == rest


def test_a_state_needs_a_round(plan: Plan) -> None:
    with pytest.raises(SamplingError, match="must have begun"):
        Batches(PSGD().build(plan)).state_dict(0)


def test_it_works_on_a_service(plan: Plan) -> None:
    with Service(PSGD().build(plan), plan, mode="thread", lead=1) as service:
        batches = Batches(service)
        assert sum(len(list(batches)) for _ in range(batches.rounds)) == plan.steps


def test_items_come_with_their_ids() -> None:
    pairs, plain = WithIds([("a", 0), ("b", 1)]), WithIds(["a", "b"])
    assert pairs[1] == (1, "b", 1)
    assert plain[1] == (1, "b")
    assert len(pairs) == 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataloader_follows_the_orders(plan: Plan, workers: int) -> None:
    from torch.utils.data import DataLoader

    batches, other = Batches(PSGD().build(plan)), PSGD().build(plan)
    loader = DataLoader(  # type: ignore[var-annotated]
        WithIds([(float(i), i % 3) for i in range(50)]),  # type: ignore[arg-type]
        batch_sampler=batches,
        num_workers=workers,
    )
    for _ in range(3):
        expected = other.next_order().ids
        assert len(loader) == len(expected) // 8
        seen = []
        for ids, values, labels in loader:
            assert (ids == values).all()
            assert (labels == ids % 3).all()
            seen += ids.tolist()
            batches.sampler.observe(_feedback(ids.tolist()))
            other.observe(_feedback(ids.tolist()))
        assert seen == expected.tolist()
