from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samplers import (
    ClassImportance,
    Feedback,
    Plan,
    SampleImportance,
    SamplingError,
    SamplingWarning,
    Scores,
    Uniform,
)
from samplers.service import Service

P_TRUE = np.array([0.9, 0.5, 0.2, 0.99, 0.7, 0.4])


@pytest.fixture
def plan() -> Plan:
    return Plan(6, epochs=10, budget=0.5, seed=1, labels=np.array([0, 0, 1, 1, 1, 2]))


def _after_scan(
    part: Any, plan: Plan, feed: Callable[..., None], p_true: Any = P_TRUE, loss: Any = None
) -> Any:
    sampler = part.build(plan)
    for _ in range(2):
        ids = sampler.next_order().ids
        feed(sampler, ids, p_true=p_true[ids], loss=None if loss is None else loss[ids])
    return sampler


@pytest.mark.parametrize("gamma", [0.5, 1.0, 0.0, -0.5])
def test_weights_are_equation_4_of_the_paper(plan: Plan, feed: Callable[..., None], gamma: float) -> None:
    sampler = _after_scan(SampleImportance(epochs=1, gamma=gamma), plan, feed)
    weights = (1 - P_TRUE) ** gamma
    np.testing.assert_allclose(sampler.probabilities(), weights / weights.sum(), rtol=1e-5)


@pytest.mark.parametrize(("gamma", "drawn"), [(3000.0, 2), (-3000.0, 0)])
def test_powers_beyond_float64_are_drawn_by_their_ratios(
    tmp_path: Path, plan: Plan, gamma: float, drawn: int
) -> None:
    Scores(np.array([1e-2, 1, 1e38, 5, 5, 5], np.float32), "p").save(tmp_path / "scores.npz")
    sampler = SampleImportance(epochs=0, gamma=gamma, scores=tmp_path / "scores.npz").build(plan)
    np.testing.assert_array_equal(sampler.probabilities(), np.arange(6) == drawn)
    assert (sampler.next_order().ids == drawn).all()
    assert np.isfinite(sampler.memory()["importance"]).all()


def test_the_first_epochs_scan_the_set(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = SampleImportance(epochs=2).build(plan)
    ids = []
    for _ in range(4):
        ids.append(sampler.next_order().ids)
        feed(sampler, ids[-1], p_true=0.5)
    np.testing.assert_array_equal(np.bincount(np.concatenate(ids)), np.full(6, 2))


def test_weights_are_taken_once_and_stay(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = _after_scan(SampleImportance(epochs=1), plan, feed)
    before = sampler.probabilities()
    ids = sampler.next_order().ids
    feed(sampler, ids, p_true=0.999)
    np.testing.assert_array_equal(sampler.probabilities(), before)


def test_online_weights_follow_the_feedback(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = _after_scan(SampleImportance(epochs=1, online=True), plan, feed)
    sampler.next_order()
    feed(sampler, [2], p_true=0.96)
    weights = np.sqrt(1 - np.where(np.arange(6) == 2, 0.96, P_TRUE))
    np.testing.assert_allclose(sampler.probabilities(), weights / weights.sum(), rtol=1e-5)


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_the_error_norm_can_be_the_metric_wherever_the_sampler_runs(plan: Plan, mode: str) -> None:
    error = np.array([0.1, 0.4, 1.4, 0.01, 1.0, 0.5], np.float32)
    # A single sampler shows its probabilities; a service, only the orders that they give.
    alone = SampleImportance(epochs=1, metric="el2n").build(plan)
    part = SampleImportance(epochs=1, metric="el2n")
    with Service(part.build(plan), plan, mode=mode) as service:  # type: ignore[arg-type]
        for step in range(2):
            ids = alone.next_order().ids
            np.testing.assert_array_equal(service.next_order().ids, ids)
            ones = np.ones(len(ids), np.float32)
            rows = Feedback(step, ids, ones, ones, np.ones(len(ids), bool), error=error[ids])
            alone.observe(rows)
            service.observe(rows)
        weights = np.sqrt(error)
        np.testing.assert_allclose(alone.probabilities(), weights / weights.sum(), rtol=1e-5)
        for _ in range(3):
            np.testing.assert_array_equal(service.next_order().ids, alone.next_order().ids)


def test_a_metric_that_is_not_measured_is_missed(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = SampleImportance(epochs=1, metric="el2n").build(plan)
    with pytest.raises(SamplingError, match="needs error, the norm of softmax - onehot"):
        feed(sampler, sampler.next_order().ids, p_true=0.5)


def test_the_loss_can_be_the_metric(plan: Plan, feed: Callable[..., None]) -> None:
    loss = np.array([0.1, 0.4, 2.0, 0.0, 1.0, 0.5])
    sampler = _after_scan(SampleImportance(epochs=1, metric="loss", gamma=2), plan, feed, loss=loss)
    np.testing.assert_allclose(sampler.probabilities(), loss**2 / (loss**2).sum(), rtol=1e-5)


def test_a_sample_always_right_has_a_finite_weight_below_gamma_0(
    plan: Plan, feed: Callable[..., None]
) -> None:
    sampler = _after_scan(
        SampleImportance(epochs=1, gamma=-1), plan, feed, p_true=np.array([1, 0.5, 0.5, 0.5, 0.5, 0.5])
    )
    chances = sampler.probabilities()
    assert chances[0] > 0.99
    assert chances[1] > 0


@pytest.mark.parametrize("draws", ["replacement", "systematic"])
@pytest.mark.parametrize("online", [False, True])
def test_unbiased_weights_make_the_mean_that_of_the_set(
    feed: Callable[..., None], draws: str, online: bool
) -> None:
    # The mean over the orders of any value, weighted by 1 / (N P), is its mean over the set.
    plan = Plan(200, epochs=100, budget=1.0, seed=3)
    part = SampleImportance(epochs=1, unbiased=True, draws=draws, online=online)  # type: ignore[arg-type]
    sampler = part.build(plan)
    rng = np.random.default_rng(0)
    p_true, value = rng.uniform(0.05, 0.95, 200), rng.random(200)
    feed(sampler, sampler.next_order().ids, p_true=0.5)
    feed(sampler, range(200), p_true=p_true)
    chances = sampler.probabilities()
    means = []
    for _ in range(95):
        order = sampler.next_order()
        np.testing.assert_allclose(order.weights, 1 / (200 * chances[order.ids]), rtol=1e-5)  # type: ignore[arg-type]
        means.append((order.weights * value[order.ids]).mean())  # type: ignore[operator]
    spread = np.std(means) / np.sqrt(len(means))
    assert abs(np.mean(means) - value.mean()) < 4.9 * spread
    assert np.std(means) < (0.05 if draws == "replacement" else 0.03)


def test_class_importance_draws_classes_by_their_summed_weights(
    plan: Plan, feed: Callable[..., None]
) -> None:
    sampler = _after_scan(ClassImportance(epochs=1), plan, feed)
    weights = np.sqrt(1 - P_TRUE)
    classes = np.array([weights[:2].sum(), weights[2:5].sum(), weights[5]]) / weights.sum()
    expected = classes[plan.labels] / np.array([2, 3, 1])[plan.labels]
    np.testing.assert_allclose(sampler.probabilities(), expected, rtol=1e-5)


def test_class_importance_needs_labels() -> None:
    with pytest.raises(SamplingError, match="class_importance needs the plan's labels"):
        ClassImportance().build(Plan(6))


def _with_gradients(ids: Any, gradient: Any, trained: Any = False) -> Any:
    ones = np.ones(len(ids), np.float32)
    return Feedback(1, ids, ones, ones, np.full(len(ids), trained), gradient=gradient)


@pytest.mark.parametrize("mode", ["inline", "process"])
def test_whole_gradients_are_asked_for_once_when_the_scan_ends(
    plan: Plan, feed: Callable[..., None], mode: str
) -> None:
    part = SampleImportance(epochs=1, metric="gradient", gamma=1)
    assert part.asks == "gradient"
    assert SampleImportance().asks is None
    gradient = np.array([0.5, 3, 0, 1, 7, 2], np.float32)
    alone, orders = part.build(plan), []
    with Service(part.build(plan), plan, mode=mode) as service:  # type: ignore[arg-type]
        for number in range(6):
            order, other = service.next_order(), alone.next_order()
            np.testing.assert_array_equal(order.ids, other.ids)
            assert (order.score_ids is not None) == (other.score_ids is not None) == (number == 1)
            orders.append(order)
            rows = [_with_gradients(order.ids, None, trained=True)]
            rows += [] if order.score_ids is None else [_with_gradients(order.score_ids, gradient)]
            for sampler in (service, alone):
                for one in rows:
                    sampler.observe(one)
    np.testing.assert_array_equal(orders[1].score_ids, np.arange(6))
    assert sorted([*orders[0].ids, *orders[1].ids]) == list(range(6))
    np.testing.assert_allclose(alone.probabilities(), gradient / gradient.sum(), rtol=1e-6)


def test_gradients_that_nobody_measured_are_missed(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = _after_scan(SampleImportance(epochs=1, metric="gradient"), plan, feed)
    with pytest.raises(SamplingError, match="gradients must be measured where an order requests scores"):
        sampler.next_order()


def test_what_is_odd_about_the_epochs_is_told(plan: Plan) -> None:
    with pytest.warns(SamplingWarning, match="instead of 10"):
        SampleImportance().build(plan)
    with pytest.warns(SamplingWarning, match="no predictions to compute weights from, and all stay equal"):
        SampleImportance(epochs=0).build(plan)
    assert SampleImportance(epochs=0, gamma=0).build(plan).notes == ()
    with pytest.raises(SamplingError, match="epochs must be above 0 to measure gradients"):
        SampleImportance(epochs=0, metric="gradient").build(plan)


def test_all_weights_0_draw_uniformly(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = _after_scan(SampleImportance(epochs=1), plan, feed, p_true=np.ones(6))
    np.testing.assert_allclose(sampler.probabilities(), np.full(6, 1 / 6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "margin"}, "metric must be one of p, loss, el2n, gradient; got margin"),
        ({"gamma": float("inf")}, "gamma must be finite"),
        ({"epochs": -1}, "epochs must be at least 0"),
        ({"draws": "alias"}, "draws must be one of"),
        ({"scores": "x.npz", "online": True}, "online must be off"),
        ({"metric": "gradient", "online": True}, "online must be off with gradients"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        SampleImportance(**options)


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
@pytest.mark.parametrize("part", [SampleImportance, ClassImportance])
def test_w_of_epoch_e_can_be_kept_wherever_the_sampler_runs(plan: Plan, part: Any, mode: str) -> None:
    """Equation 4's own w, per sample and unscaled, whatever the orders are drawn by."""
    with Service(part(epochs=1).build(plan), plan, mode=mode) as service:  # type: ignore[arg-type]
        for step in range(3):
            ids = service.next_order().ids
            assert np.isnan(service.importance()).all() == (step < 2)  # type: ignore[arg-type]
            p_true = P_TRUE[ids] if step < 2 else np.full(len(ids), 0.99)
            service.observe(
                Feedback(
                    step,
                    ids,
                    np.ones(len(ids), np.float32),
                    p_true.astype(np.float32),
                    np.ones(len(ids), bool),
                )
            )
        np.testing.assert_allclose(service.importance(), np.sqrt(1 - P_TRUE), rtol=1e-6)  # type: ignore[arg-type]


def test_samplers_without_importance_have_none(plan: Plan) -> None:
    with Service(SampleImportance(epochs=1).build(plan), plan) as service:
        assert service.importance() is not None
    with Service(Uniform().build(plan), plan) as service:
        assert service.importance() is None


def test_a_state_of_another_version_is_refused(plan: Plan) -> None:
    sampler = SampleImportance(epochs=1).build(plan)
    state = sampler.state_dict()
    del state["memory.importance"]
    with pytest.raises(SamplingError, match="lacks importance: resume with the version"):
        sampler.load_state_dict(state)
