"""RCAP against its equations, class by class."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samplers import RCAP, Plan, SamplingError
from samplers.rcap import filled, whole_parts

SIZES = (40, 20, 30, 10)
LABELS = np.repeat(np.arange(4), SIZES)


@pytest.fixture
def plan() -> Plan:
    return Plan(100, epochs=40, budget=0.3, seed=2, labels=LABELS)


def _reference(losses: Any, labels: Any, size: int, beta: float, clip: float) -> Any:
    """Return counts by class, and probabilities within classes, by loops over the equations."""
    classes = sorted(set(labels))
    clipped = [min(loss, clip) for loss in losses]
    members = {c: [i for i, label in enumerate(labels) if label == c] for c in classes}
    wanted = {
        c: math.sqrt(len(members[c]) / len(labels) * sum(clipped[i] for i in members[c]) / len(members[c]))
        for c in classes
    }
    counts: dict[Any, float] = {}
    open_, left = set(classes), float(size)
    while open_:
        total = sum(wanted[c] for c in open_)
        over = [c for c in open_ if wanted[c] / total * left > len(members[c])]
        for c in over:
            counts[c] = len(members[c])
        if not over:
            counts.update({c: wanted[c] / total * left for c in open_})
            break
        open_ -= set(over)
        left -= sum(len(members[c]) for c in over)
    within = np.zeros(len(labels))
    for c in classes:
        powers = np.array([math.exp(clipped[i] / beta) for i in members[c]])
        within[members[c]] = powers / powers.sum()
    return [counts[c] for c in classes], within


@pytest.mark.parametrize("size", [10, 30, 90])
def test_classes_and_samples_are_drawn_by_the_equations(
    feed: Callable[..., None], deviation: Callable[..., float], size: int
) -> None:
    plan = Plan(100, epochs=600, budget=size / 100, seed=2, labels=LABELS)
    sampler = RCAP(beta=0.5).build(plan)
    losses = np.random.default_rng(1).exponential(0.6, 100) + (LABELS == 3)
    feed(sampler, np.arange(100), loss=losses)
    expected, within = _reference(losses, LABELS, size, 0.5, math.log(4))
    sampler.fold_buffered()
    mine = sampler.losses()
    np.testing.assert_allclose(sampler.importance(mine), within, rtol=1e-5)
    np.testing.assert_allclose(sampler.shares(mine, within, size), expected, rtol=1e-5)
    by_class, first = np.zeros(4), np.zeros(100)
    for _ in range(600):
        ids = sampler.next_order().ids
        assert len(np.unique(ids)) == size
        counts = np.bincount(LABELS[ids], minlength=4)
        assert (np.abs(counts - expected) < 1 + 1e-9).all()
        by_class += counts
        first += np.bincount(ids, minlength=100)
    np.testing.assert_allclose(by_class / 600, expected, atol=0.1)
    if size == 90:
        assert (first[LABELS == 3] == 600).all()  # the worst class, in whole
    chances = sampler.probabilities()
    assert chances.sum() == pytest.approx(1)


def test_within_a_class_high_losses_come_more_often(feed: Callable[..., None]) -> None:
    plan = Plan(40, epochs=4000, budget=0.05, seed=2, labels=np.zeros(40, np.int64))
    sampler = RCAP(clip=2.0).build(plan)
    losses = np.linspace(0, 3, 40)
    feed(sampler, np.arange(40), loss=losses)
    counts = np.zeros(40)
    for _ in range(4000):
        counts += np.bincount(sampler.next_order().ids, minlength=40)
    # Of two of 40, the first by P and the second by P among the others.
    p = np.exp(np.minimum(losses, 2))
    p /= p.sum()
    inclusion = np.array(
        [p[i] + sum(p[j] * p[i] / (1 - p[j]) for j in range(40) if j != i) for i in range(40)]
    )
    assert (np.abs(counts - 4000 * inclusion) < 4.9 * np.sqrt(4000 * inclusion)).all()


def test_samples_not_seen_have_the_loss_of_a_uniform_prediction(
    plan: Plan, feed: Callable[..., None]
) -> None:
    sampler = RCAP().build(plan)
    feed(sampler, [0, 1], loss=[9.0, 0.1])
    sampler.fold_buffered()
    assert sampler.losses()[[0, 1, 2]] == pytest.approx([math.log(4), 0.1, math.log(4)])


def test_by_importance_a_class_counts_by_what_the_last_round_held(
    plan: Plan, feed: Callable[..., None]
) -> None:
    sampler = RCAP(classes_by="importance").build(plan)
    losses = np.random.default_rng(1).exponential(0.6, 100)
    feed(sampler, np.arange(100), loss=losses)
    ids = sampler.next_order().ids
    importance = sampler.importance(sampler.losses())
    held = np.array([importance[[i for i in ids if LABELS[i] == c]].sum() for c in range(4)])
    wanted = np.sqrt(held * np.array(SIZES) / 100)
    np.testing.assert_allclose(
        sampler.shares(sampler.losses(), importance, 30), 30 * wanted / wanted.sum(), rtol=1e-6
    )


@given(
    wanted=st.lists(st.floats(1e-3, 1), min_size=1, max_size=12),
    part=st.floats(0, 1),
    offset=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=200)
def test_parts_add_up_within_their_room(wanted: list[float], part: float, offset: float, seed: int) -> None:
    room = np.random.default_rng(seed).integers(1, 30, len(wanted))
    total = round(part * room.sum())
    parts = filled(np.array(wanted), room, total)
    assert parts.sum() == pytest.approx(total)
    assert (parts <= room + 1e-9).all()
    counts = whole_parts(parts, total, offset)
    assert counts.sum() == total
    assert ((counts >= 0) & (counts <= room) & (np.abs(counts - parts) < 1 + 1e-6)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0.0}, "beta must be above 0 and finite; got 0.0"),
        ({"clip": np.nan}, "clip must be above 0 and finite; got nan"),
        ({"classes_by": "size"}, "classes_by must be one of loss, importance; got size"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        RCAP(**options)


def test_a_set_without_classes_is_refused() -> None:
    with pytest.raises(SamplingError, match="rcap needs one class per sample, and this set has none"):
        RCAP().build(Plan(100))
