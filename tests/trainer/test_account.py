"""Limits of a budget, and the schedule's progress, simulated step by step."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.account import Account, Counts
from trainer.budget.costs import Costs


def spend(account: Account, scoring: float, pool: int) -> list[float]:
    """Train to the end of a budget as the loop does; return the schedule's progress at every step."""
    course = []
    while account.affords(account.step_cost(32)):
        price = pool * scoring if account.counts == "compute" else 0.0
        scored = account.affords(account.step_cost(32) + price)
        if scored:
            account.charge("scored", pool, 16)
        course.append(account.schedule_progress(account.step_cost(32), price, scored))
        account.charge("trained", account.batch_size, 32)
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
    account = Account(total, total, batch, "compute", Costs({32: 1.0}, charged))
    account.ledger.score_costs = {16: scoring}
    if total - charged < batch:
        return
    course = spend(account, scoring, ratio * batch)
    assert total - batch < account.spent <= total * (1 + 1e-9)
    assert course == sorted(course)
    assert course[0] == 0.0
    # The floor is reached at the end and not before.
    assert [progress == 1.0 for progress in course[1:]] == [False] * (len(course) - 2) + [True] * (
        len(course) > 1
    )
    assert account.progress <= 1.0


@given(total=st.integers(64, 5000), batch=st.integers(1, 64))
def test_a_budget_of_samples_takes_every_whole_batch_in_equal_steps(total: int, batch: int) -> None:
    account = Account(total, total, batch, "trained", Costs({32: 1.0, 16: 0.25}, charged=1000))
    course = spend(account, 0.3, 2 * batch)
    steps = total // batch
    assert course == [step / max(1, steps - 1) for step in range(steps)]
    assert account.ledger.trained == steps * batch
    assert account.progress == 1.0


@pytest.mark.parametrize(
    ("counts", "spent"), [("trained", 140), ("compute", 7 + 100 + 40 * 0.25 + 200 * 0.1 + 3)]
)
def test_a_ledger_is_charged_by_resolution_whatever_the_budget_counts(counts: Counts, spent: float) -> None:
    account = Account(1000, 1000, 10, counts, Costs({32: 1.0, 16: 0.25}, charged=7))
    account.charge("trained", 100, 32)
    account.charge("trained", 40, 16)
    account.charge("scored", 150, 16)
    account.charge("scored", 50, 16)
    account.charge("gradient", 3, 32)
    account.ledger.score_costs = {16: 0.1}
    assert account.spent == pytest.approx(spent)
    assert account.compute == pytest.approx(140)
    assert (account.ledger.trained, account.ledger.scored, account.ledger.gradients) == (140, 200, 3)
    summary = account.summary()
    assert (summary["trained_at"], summary["scored_at"]) == ({"16": 40, "32": 100}, {"16": 200})
    assert (summary["spent"], summary["compute"]) == (account.spent, account.compute)


def test_passes_without_a_step_are_free_where_samples_trained_are_counted() -> None:
    trained, compute = (
        Account(100, 100, 10, counts, Costs({32: 1.0, 16: 0.25})) for counts in get_args(Counts)
    )
    for account in (trained, compute):
        account.ledger.score_costs = {16: 0.2}
    assert trained.pass_cost("scored", 50, 16) == trained.pass_cost("gradient", 50, 32) == 0
    assert compute.pass_cost("scored", 50, 16) == pytest.approx(10)
    assert compute.pass_cost("gradient", 50, 32) == 50
    with pytest.raises(KeyError):
        compute.pass_cost("scored", 1, 32)
    assert (trained.steps, compute.steps) == (10, None)
    assert (trained.reported_progress, compute.reported_progress) == (None, 0.0)
