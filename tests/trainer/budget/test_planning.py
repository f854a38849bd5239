"""How many samples a run's orders hold."""

from __future__ import annotations

from trainer.account import Account
from trainer.budget.costs import Costs
from trainer.budget.planning import candidates_needed


def test_orders_hold_what_a_budget_may_need() -> None:
    trained = Account(1000, 1000, 10, "trained", Costs({32: 1.0}))
    assert candidates_needed(trained, 250, 1.0, True, lambda progress: 32) == 1000
    assert candidates_needed(trained, 250, 2.0, True, lambda progress: 32) == 2000
    assert candidates_needed(trained, 250, 2.0, False, lambda progress: 32) == 4000
    # At a quarter of the cost for half of the budget there are two samples to spend where there was one half.
    compute = Account(1000, 1000, 10, "compute", Costs({32: 1.0, 16: 0.25}))
    assert candidates_needed(compute, 10, 1.0, True, lambda p: 16 if p < 0.5 else 32) == 2500
