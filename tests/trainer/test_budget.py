"""What a budget allows, and where that puts the schedule, simulated step by step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.budget import Budget, candidates_needed, forward_flops
from trainer.ledger import Ledger
from trainer.models import MODELS


def spend(budget: Budget, ledger: Ledger, scoring: float, pool: int) -> list[float]:
    """Train to the end of a budget as the loop does; give the schedule's progress at every step."""
    course = []
    while budget.affords(ledger, budget.step_cost(32)):
        price = pool * scoring if budget.counts == "compute" else 0.0
        scored = budget.affords(ledger, budget.step_cost(32) + price)
        if scored:
            ledger.count_scored(pool, 16)
        course.append(budget.schedule_progress(ledger, budget.step_cost(32), price, scored))
        ledger.count_trained(budget.batch_size, 32)
    return course


@settings(max_examples=60, deadline=None)
@given(
    total=st.integers(64, 5000),
    batch=st.integers(2, 64),
    ratio=st.integers(1, 10),
    scoring=st.floats(0.0, 0.5),
    charged=st.integers(0, 30),
)
def test_a_compute_budget_is_spent_to_less_than_a_step_and_its_schedule_runs_from_0_to_1(
    total: int, batch: int, ratio: int, scoring: float, charged: int
) -> None:
    budget = Budget(total, total, batch, "compute", {32: 1.0}, charged)
    ledger = Ledger(torch.device("cpu"))
    ledger.score_costs = {16: scoring}
    if total - charged < batch:
        return
    course = spend(budget, ledger, scoring, ratio * batch)
    assert total - batch < budget.spent(ledger) <= total * (1 + 1e-9)
    assert course == sorted(course)
    assert course[0] == 0.0
    # The floor is reached at the end and not before.
    assert [progress == 1.0 for progress in course[1:]] == [False] * (len(course) - 2) + [True] * (
        len(course) > 1
    )
    assert budget.progress(ledger) <= 1.0


@given(total=st.integers(64, 5000), batch=st.integers(1, 64))
def test_a_budget_of_samples_takes_every_whole_batch_in_equal_steps(total: int, batch: int) -> None:
    budget = Budget(total, total, batch, "trained", {32: 1.0, 16: 0.25}, charged=1000)
    ledger = Ledger(torch.device("cpu"))
    course = spend(budget, ledger, 0.3, 2 * batch)
    steps = total // batch
    assert course == [step / max(1, steps - 1) for step in range(steps)]
    assert ledger.trained == steps * batch
    assert budget.progress(ledger) == 1.0


def test_a_ledger_is_charged_by_resolution_whatever_the_budget_counts() -> None:
    ledger = Ledger(torch.device("cpu"))
    ledger.count_trained(100, 32)
    ledger.count_trained(40, 16)
    ledger.count_scored(200, 16)
    ledger.score_costs = {16: 0.1}
    for counts, spent in (("trained", 140), ("compute", 7 + 100 + 40 * 0.25 + 200 * 0.1)):
        budget = Budget(1000, 1000, 10, counts, {32: 1.0, 16: 0.25}, charged=7)  # type: ignore[arg-type]
        assert budget.spent(ledger) == pytest.approx(spent)
        assert budget.compute(ledger) == pytest.approx(137)
    assert (ledger.trained, ledger.scored) == (140, 200)


def test_orders_hold_what_a_budget_may_need() -> None:
    trained = Budget(1000, 1000, 10, "trained", {32: 1.0})
    assert candidates_needed(trained, 250, 1.0, True, lambda progress: 32) == 1000
    assert candidates_needed(trained, 250, 2.0, True, lambda progress: 32) == 2000
    assert candidates_needed(trained, 250, 2.0, False, lambda progress: 32) == 4000
    # At a quarter of the cost for half of the budget there are two samples to spend where there was one half.
    compute = Budget(1000, 1000, 10, "compute", {32: 1.0, 16: 0.25})
    assert candidates_needed(compute, 10, 1.0, True, lambda p: 16 if p < 0.5 else 32) == 2500


def test_flops_are_those_of_the_layers() -> None:
    with torch.device("meta"):
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(8 * 64, 5)
        )
        whole = MODELS["resnet18"]().build(classes=10)
    assert forward_flops(model, 8) == 2 * (8 * 8 * 8 * 27) + 2 * 5 * 512
    assert model.training
    # 0.56 billion multiplications and additions: the CIFAR ResNet-18 of the literature.
    assert forward_flops(whole, 32) / 2 == pytest.approx(0.555e9, rel=0.01)
