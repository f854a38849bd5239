from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import samplers
from samplers import Plan, SamplingError


def test_the_public_face_is_what_is_documented() -> None:
    helpers = {
        "SAMPLERS",
        "Feedback",
        "Order",
        "Plan",
        "Sampler",
        "SamplerConfig",
        "SamplingError",
        "SamplingWarning",
    }
    helpers |= {"LabelReading", "Scores", "ScoringConfig", "State", "use_threads"}
    named = {"Scan", "Uniform", "RS2", "PSGD", "CSGD", "PredictionVariance", "LossProportional", "LossRank"}
    named |= {"SampleImportance", "ClassImportance", "Balanced", "Subset", "InfoBatch", "SeTa", "Kakurenbo"}
    named |= {"UCB", "EpsilonGreedy", "DIHCL", "MCL"}
    # A sampler that is new needs no more than its line in the table.
    parts = {part.__name__ for part in samplers.SAMPLERS.values()}
    assert helpers | named <= set(samplers.__all__) <= helpers | parts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples must be at least 1; got 0"),
        ({"budget": 0.0}, "budget must be above 0 and at most 1"),
        ({"budget": 1.01}, "budget must be above 0 and at most 1"),
        ({"epochs": 0}, "epochs must be above 0"),
        ({"epochs": float("inf")}, "epochs must be above 0 and finite"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 11}, "batch_size must be at most the 10 samples"),
        ({"round_length": 1.5}, "round_length must be above 0 and at most 1"),
        ({"labels": np.zeros(9, int)}, r"shape \(10,\); got \(9,\)"),
        ({"labels": np.full(10, -1)}, "labels must be classes counted from 0"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        Plan(**{"samples": 10, **options})


@pytest.mark.parametrize("epochs", [1, 3, 7.3])
@pytest.mark.parametrize("budget", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("length", [0.1, 0.5, 1.0])
def test_rounds_add_up_to_the_total(epochs: float, budget: float, length: float) -> None:
    plan = Plan(997, epochs=epochs, budget=budget, round_length=length)
    sizes = [plan.size(number) for number in range(plan.rounds)]
    assert sum(sizes) == plan.total == round(997 * epochs * budget)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.filterwarnings("ignore::samplers.errors.SamplingWarning")
@pytest.mark.parametrize("name", samplers.SAMPLERS)
@pytest.mark.parametrize(("size", "budget"), [(3, 0.04), (7, 0.1), (1, 0.3)])
def test_probabilities_can_be_asked_for_where_rounds_hold_one_sample_and_at_the_end(
    name: str, size: int, budget: float
) -> None:
    plan = Plan(size, epochs=10, budget=budget, labels=np.zeros(size, np.int64))
    assert {plan.size(number) for number in range(plan.rounds)} == {1}
    sampler = samplers.SAMPLERS[name]().build(plan)
    for left in range(sampler.rounds, -1, -1):
        chances = sampler.probabilities()  # type: ignore[attr-defined]
        assert (chances >= 0).all()
        assert chances.sum() == pytest.approx(1)
        if left:
            sampler.next_order()
