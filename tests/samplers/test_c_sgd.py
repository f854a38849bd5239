from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from samplers import CSGD, Plan, SamplingError, SamplingWarning


@pytest.fixture
def plan() -> Plan:
    return Plan(5, epochs=6, budget=0.4, seed=1)


SEEN = [0.9, 0.7, 0.5, 0.95]  # p_y of samples 0 to 3; sample 4 is never seen


def _by_hand(smoothing: Any) -> Any:
    a = 1 - np.array(SEEN)  # .1 .3 .5 .05
    if smoothing == "inside":
        p = a + a.mean()  # eps = .2375
        c = np.maximum(p * (1 - p), 0)
    elif smoothing == "after":
        c = a * (1 - a)
    else:
        c = a * (1 - a)
    c = np.append(c, c.max())
    return c + c.mean() if smoothing == "after" else c


@pytest.mark.filterwarnings("ignore:smoothing inside:samplers.errors.SamplingWarning")
@pytest.mark.parametrize("smoothing", ["inside", "after", "none"])
def test_probabilities_are_those_of_the_paper_and_its_variants(
    plan: Plan, feed: Callable[..., None], smoothing: str
) -> None:
    sampler = CSGD(smoothing=smoothing).build(plan)  # type: ignore[arg-type]
    feed(sampler, range(4), p_true=SEEN)
    c = _by_hand(smoothing)
    np.testing.assert_allclose(sampler.probabilities(), c / c.sum(), rtol=1e-6)


def test_smoothing_comes_after_the_product_unless_asked_for_inside(plan: Plan) -> None:
    assert CSGD() == CSGD(smoothing="after")
    with pytest.warns(SamplingWarning, match="rarely draws misclassified samples again"):
        sampler = CSGD(smoothing="inside").build(plan)
    assert len(sampler.notes) == 1
    assert CSGD().build(plan).notes == ()


def test_what_is_always_wrong_still_comes(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = CSGD().build(plan)
    feed(sampler, range(5), p_true=[0, 0, 0, 0.5, 0.5])
    c = np.array([0, 0, 0, 0.25, 0.25]) + 0.1
    np.testing.assert_allclose(sampler.probabilities(), c / c.sum(), rtol=1e-6)


def test_an_error_can_be_measured_against_the_share_in_a_mixed_image(
    plan: Plan, feed: Callable[..., None]
) -> None:
    sampler = CSGD(relative=True).build(plan)
    feed(sampler, range(5), p_true=[0.25, 0.2, 0.8, 0.1, 0.6], coefficient=[0.25, 0.5, 1, 0.5, 0.25])
    a = np.array([0, 0.6, 0.2, 0.8, 0])  # max(0, s - p) / s
    c = a * (1 - a) + (a * (1 - a)).mean()
    np.testing.assert_allclose(sampler.probabilities(), c / c.sum(), rtol=1e-5)


def test_errors_are_averaged_over_the_times_seen(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = CSGD().build(plan)
    feed(sampler, [0, 0, 1, 2, 3], p_true=[1.0, 0.8, 0.7, 0.5, 0.95])
    c = _by_hand("after")
    np.testing.assert_allclose(sampler.probabilities(), c / c.sum(), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:smoothing inside:samplers.errors.SamplingWarning")
def test_a_negative_product_is_nothing(plan: Plan, feed: Callable[..., None]) -> None:
    # a = .9, .9, .9, .1, .1: eps = .58, so p = 1.48 and 0.68.
    sampler = CSGD(smoothing="inside").build(plan)
    feed(sampler, range(5), p_true=[0.1, 0.1, 0.1, 0.9, 0.9])
    np.testing.assert_allclose(sampler.probabilities(), [0, 0, 0, 0.5, 0.5], rtol=1e-6)
    assert sorted(sampler.next_order().ids) == [3, 4]


@pytest.mark.filterwarnings("ignore:smoothing inside:samplers.errors.SamplingWarning")
def test_a_round_is_uniform_when_all_products_are_0(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = CSGD(smoothing="inside").build(plan)
    feed(sampler, range(5), p_true=0.1)
    np.testing.assert_array_equal(sampler.probabilities(), np.full(5, 0.2))
    assert len(sampler.next_order().ids) == 2


def test_an_unknown_smoothing_is_refused() -> None:
    with pytest.raises(SamplingError, match="smoothing must be one of after, inside, none; got before"):
        CSGD(smoothing="before")  # type: ignore[arg-type]
