"""Runs of samplers over a small plan, as training would have them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from samplers import SAMPLERS, Feedback, Order, Plan
from samplers.families.rounds import RoundSampler


def small_plan(samples: int = 60, **options: Any) -> Plan:
    fields = {"epochs": 12, "budget": 0.4, "batch_size": 8, "seed": 5}
    return Plan(samples, **{**fields, **options}, labels=np.arange(samples) * 7 % 4)


def sampler_of(name: str, plan: Plan) -> RoundSampler:
    """Return the sampler ``name`` with its own defaults."""
    sampler = SAMPLERS[name]().build(plan)
    assert isinstance(sampler, RoundSampler)
    return sampler


def built(name: str, samples: int = 60, **options: Any) -> RoundSampler:
    """Return the sampler ``name`` with its own defaults, for a plan of `small_plan`."""
    return sampler_of(name, small_plan(samples, **options))


def train(
    sampler: RoundSampler, order: Order, step: int = 0, coefficient: bool = False, pace: float | None = None
) -> Any:
    """Feed back what training on an order would: batch by batch, some samples always harder than others.

    With ``pace`` the run ends so many times earlier than the plan.
    """
    progress = None if pace is None else min(1.0, pace * (order.round + 1) / sampler.rounds)
    for at in range(0, len(order.ids), 8):
        ids = order.ids[at : at + 8]
        noise = np.random.default_rng([order.round, at]).random(len(ids))
        p_true = (0.05 + 0.9 * ((ids * 37 % 101) / 101) * (0.5 + noise / 2)).astype(np.float32)
        coefficients = (0.5 + noise / 2).astype(np.float32) if coefficient else None
        step += 1
        trained = np.ones(len(ids), bool)
        sampler.observe(
            Feedback(step, ids, -np.log(p_true), p_true, trained, coefficients, progress=progress)
        )
    if order.score_ids is not None:
        ids = order.score_ids
        p_true = np.full(len(ids), 0.8, np.float32)
        sampler.observe(Feedback(step, ids, -np.log(p_true), p_true, np.zeros(len(ids), bool)))
    return step


def run(sampler: RoundSampler, rounds: int | None = None, coefficient: bool = False) -> list[Order]:
    orders, step = [], 0
    for _ in range(sampler.rounds - sampler.round if rounds is None else rounds):
        orders.append(sampler.next_order())
        step = train(sampler, orders[-1], step, coefficient)
    return orders


def assert_same(ours: list[Order], theirs: list[Order]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        for field in dataclasses.fields(Order):
            a, b = getattr(one, field.name), getattr(other, field.name)
            assert (a is None) == (b is None)
            np.testing.assert_array_equal(a, b)
