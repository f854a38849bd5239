"""Orders of every sampler are distributed as it declares."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from sampler_runs import built, run

from samplers import SAMPLERS, Feedback
from samplers.families.rounds import RoundSampler
from samplers.families.weighted import WeightedSampler
from samplers.protocol import may_starve

pytestmark = pytest.mark.filterwarnings("ignore::samplers.errors.SamplingWarning")


def _moved(template: RoundSampler, other: RoundSampler) -> None:
    """Bring a sampler of another seed to the template's state, any pass under way dropped."""
    state = {**template.state_dict(), "plan": other.state_dict()["plan"]}
    for key in ("memory.pending.ids", "memory.pending.weights"):
        if key in state:
            state[key] = state[key][:0]
    if "memory.ids" in state:
        state["memory.ids"] = other.state_dict()["memory.ids"]
    if "memory.group" in state:
        state["memory.group"] = other.state_dict()["memory.group"]
    other.load_state_dict(state)


def _deviation(observed: Any, expected: Any) -> Any:
    """Standard normal score of a chi-square statistic (Wilson & Hilferty)."""
    possible = expected > 0
    assert not observed[~possible].any()
    free = possible.sum() - 1
    if free == 0:
        return 0.0  # a certain outcome, which came true
    ratio = ((observed - expected)[possible] ** 2 / expected[possible]).sum() / free
    return (ratio ** (1 / 3) - (1 - 2 / (9 * free))) / np.sqrt(2 / (9 * free))


def test_the_first_id_drawn_is_distributed_as_declared(build: Callable[..., RoundSampler]) -> None:
    # Rounds of one sample: the id drawn is the first, whose distribution ``probabilities`` declares.
    options = {"samples": 12, "epochs": 6, "budget": 1.0, "batch_size": 1, "round_length": 1 / 12}
    template = build(**options)
    run(template, min(template.rounds - 3, 60))
    counts, expected = np.zeros(12), np.zeros(12)
    for seed in range(1500):
        sampler = build(**options, seed=seed)
        _moved(template, sampler)
        chances = sampler.probabilities()
        assert chances.sum() == pytest.approx(1)
        expected += chances
        counts[sampler.next_order().ids[0]] += 1
    assert _deviation(counts, expected) < 4.75


@pytest.mark.parametrize("which", [name for name in SAMPLERS if hasattr(SAMPLERS[name], "importance")])
def test_a_round_is_drawn_by_its_importance(which: str) -> None:
    options: dict[str, Any] = {"samples": 6, "epochs": 20, "budget": 0.5, "batch_size": 3}
    template = built(which, **options)
    assert isinstance(template, WeightedSampler)
    run(template, 16)
    chances = template.probabilities()
    inclusion = np.zeros(6)
    for sequence in permutations(range(6), 3):
        left, chance = chances.copy(), 1.0
        for i in sequence:
            if left.sum() < 1e-12:  # none of a positive weight is left: any of the others
                left = np.isin(np.arange(6), sequence[: sequence.index(i)], invert=True).astype(float)
            chance *= left[i] / left.sum()
            left[i] = 0
        inclusion[list(sequence)] += chance
    counts = np.zeros(6)
    for seed in range(2000):
        sampler = built(which, **options, seed=seed)
        _moved(template, sampler)
        np.add.at(counts, sampler.next_order().ids, 1)
    expected = 2000 * (3 * chances if template.replacement else inclusion)
    spread = np.sqrt(np.maximum(expected * (1 - expected / 6000), 1))
    assert (np.abs(counts - expected) < 4.9 * spread).all()


@pytest.mark.parametrize("which", [name for name, part in SAMPLERS.items() if not may_starve(part)])
def test_no_sample_starves_where_the_method_promises_so(which: str) -> None:
    sampler = built(which, 40, epochs=30, budget=0.5, batch_size=4)
    lowest = []
    while sampler.round < sampler.rounds:
        lowest.append(sampler.probabilities())
        order = sampler.next_order()
        p_true = np.where(order.ids == 0, 1, 0.3).astype(np.float32)  # sample 0 is always right
        sampler.observe(Feedback(1, order.ids, -np.log(p_true), p_true, np.ones(len(p_true), bool)))
    assert np.array(lowest)[-12:, 0].max() > 0
