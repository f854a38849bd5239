"""A sampler around a DataLoader trains on its orders, whatever the workers, and goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from plain_loops import SAMPLES, Loop, Points
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, WeightedRandomSampler

from samplers import SAMPLERS, InfoBatch, Plan, SampleImportance, SamplingError, Scan
from trainer import BudgetedLoader, RunError

pytestmark = pytest.mark.filterwarnings(
    "ignore::samplers.errors.SamplingWarning", "ignore:.*multi-threaded.*:DeprecationWarning"
)


def _check_against_orders_by_hand(loop: Loop, sampler: Any) -> None:
    """Train to the end; every round has the samples of a sampler that is fed the same statistics by hand."""
    number = 0
    for _ in range(loop.loader.rounds):
        order = sampler.next_order()
        assert len(loop.loader) == len(order.ids) // 8
        for feedback in loop.steps():
            sampler.observe(feedback)
        for feedback in loop.scores():
            sampler.observe(feedback)
        batches = loop.seen[number:]
        assert sorted(map(tuple, batches)) == sorted(map(tuple, order.ids.reshape(-1, 8).tolist()))
        number = len(loop.seen)
    assert number == loop.loader.steps == loop.loader.plan.steps


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_trains_on_its_orders_and_on_the_whole_budget(name: str) -> None:
    loop = Loop(name)
    plan = Plan(SAMPLES, epochs=4, budget=0.5, batch_size=8, labels=np.arange(SAMPLES) % 3)
    _check_against_orders_by_hand(loop, SAMPLERS[name]().build(plan))


def test_rounds_oscillate_where_wanted() -> None:
    loop = Loop("infobatch", oscillation=0.5)
    plan = Plan(SAMPLES, epochs=4, budget=0.5, batch_size=8, oscillation=0.5)
    _check_against_orders_by_hand(loop, InfoBatch().build(plan))


@pytest.mark.slow
@pytest.mark.parametrize("in_order", [True, False])
def test_workers_that_persist_and_finish_in_any_order_change_nothing(in_order: bool) -> None:
    loop = Loop("infobatch", num_workers=2, persistent_workers=True, in_order=in_order)
    plan = Plan(SAMPLES, epochs=4, budget=0.5, batch_size=8)
    _check_against_orders_by_hand(loop, InfoBatch().build(plan))


def test_losses_are_weighted_as_the_order_says() -> None:
    loop, weighted = Loop(InfoBatch(delta=1.0), epochs=8), 0
    for _ in range(loop.loader.rounds):
        number = len(loop.losses)
        feedback = list(loop.steps())
        order = loop.loader.order
        assert order is not None
        weights = np.ones(len(order.ids)) if order.weights is None else order.weights
        weighted += order.weights is not None
        own = np.stack([one.loss for one in feedback])
        expected = (own * weights.reshape(own.shape)).mean(axis=1)
        np.testing.assert_allclose(loop.losses[number:], expected, rtol=1e-6)
    assert weighted > 0


def test_it_goes_on_in_the_middle_of_a_round_and_after_one() -> None:
    whole = Loop("infobatch")
    states = [whole.loader.state_dict()]
    for _ in range(whole.loader.rounds):
        for _ in whole.steps():
            states.append(whole.loader.state_dict() | {"model": {**whole.model.state_dict()}})
            states[-1]["model"] = {name: value.clone() for name, value in states[-1]["model"].items()}
    for done, state in enumerate(states):
        rest = Loop("infobatch")
        rest.loader.load_state_dict(state)
        rest.model.load_state_dict(state.get("model", rest.model.state_dict()))
        for _ in range(rest.loader.round, rest.loader.rounds):
            left = len(rest.loader)
            assert len(list(rest.steps())) == left
        assert (rest.seen, rest.losses) == (whole.seen[done:], whole.losses[done:])


def test_a_round_that_is_left_early_goes_on() -> None:
    loop, other = Loop("p_sgd"), Loop("p_sgd")
    next(iter(loop.loader))  # A look at a batch trains on nothing.
    for _ in loop.steps():
        break
    assert loop.loader.round == 0
    list(loop.steps())
    list(other.steps())
    assert loop.seen == other.seen
    assert loop.loader.round == 1


def test_validation_with_the_same_loss_function_is_not_recorded() -> None:
    loop, other = Loop("infobatch"), Loop("infobatch")
    values, labels = Points().values, Points().targets
    plain = nn.CrossEntropyLoss()
    for _ in range(loop.loader.rounds):
        for _ in loop.steps():
            with torch.no_grad():
                outputs = loop.model(values)
                assert loop.criterion(outputs, labels) == pytest.approx(plain(outputs, labels).item())
        # After a round nothing is recorded, gradients or not.
        loop.criterion(loop.model(values), labels)
        list(other.steps())
    assert loop.seen == other.seen


def test_the_learning_rate_is_scaled_within_steps_alone() -> None:
    loop = Loop("kakurenbo", epochs=20)
    rates, scales = [], set()
    loop.optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    for _ in range(loop.loader.rounds):
        for _ in loop.steps():
            order = loop.loader.order
            assert order is not None
            scales.add(order.lr_scale)
            assert rates[-1] == pytest.approx(0.5 * order.lr_scale)
            assert loop.optimizer.param_groups[0]["lr"] == 0.5
        list(loop.scores())
    assert max(scales) > 1


def test_a_budget_has_an_end() -> None:
    loop = Loop(Scan())
    assert loop.loader.rounds == 2
    for _ in range(2):
        list(loop.steps())
    with pytest.raises(
        RunError, match=r"spent after 2 rounds; got another: loop over range\(loader.rounds\)"
    ):
        list(loop.steps())


def test_it_says_where_it_is() -> None:
    loop = Loop("p_sgd")
    list(loop.steps())
    assert repr(loop.loader) == (
        "BudgetedLoader(p_sgd, 0.5 of 4 epochs of 60 samples: 1 of 4 rounds, 3 of 15 steps of 8)"
    )


class Stream(IterableDataset[int]):
    """A data set that is read in sequence."""

    def __iter__(self) -> Iterator[int]:
        yield from range(10)


def _loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(Points(), **{"batch_size": 8, **options})


@pytest.mark.parametrize(
    ("loader", "sampler", "line"),
    [
        ([1, 2], "uniform", "must be a torch.utils.data.DataLoader; got list"),
        (DataLoader(Stream(), batch_size=4), "uniform", "Stream is read in sequence"),
        (_loader(batch_size=None), "uniform", "must have a batch_size"),
        (
            _loader(sampler=WeightedRandomSampler([1.0] * 60, 60)),
            "rs2",
            "WeightedRandomSampler would be lost",
        ),
        (_loader(), "psgd", "sampler must be one of scan, uniform, .*; got 'psgd'"),
        (DataLoader([1, 2, 3, 4]), "balanced", "balanced needs the class .*: add labels="),  # type: ignore[arg-type]
        (_loader(), "kakurenbo", "kakurenbo scales the learning rate .*: add optimizer="),
        (_loader(), SampleImportance(metric="gradient"), "sample_importance needs each sample's gradient"),
    ],
)
def test_what_cannot_work_is_refused(loader: Any, sampler: Any, line: str) -> None:
    with pytest.raises(RunError, match=line):
        BudgetedLoader(loader, sampler, epochs=4, budget=0.5)


def test_a_batch_larger_than_the_set_is_refused() -> None:
    with pytest.raises(SamplingError, match="batch_size must be at most the 60 samples"):
        BudgetedLoader(_loader(batch_size=61), "rs2", epochs=4, budget=0.5)


def test_what_the_loop_forgets_is_named() -> None:
    loader = BudgetedLoader(_loader(), "p_sgd", epochs=4, budget=0.5)
    with pytest.raises(RunError, match="p_sgd learns from the losses: make the loss function by"):
        list(loader)
    criterion = loader.criterion(nn.CrossEntropyLoss())
    with pytest.raises(RunError, match=r"loss must be given .* before the next batch is fetched"):
        list(loader)
    for values, labels, _ in loader:
        outputs = values[:, :3]
        outputs.requires_grad_()
        with pytest.raises(RunError, match="the loss of each of its 8 samples; got 7"):
            criterion(outputs[1:], labels[1:])
        criterion(outputs, labels)
        with pytest.raises(RunError, match="once per batch; got a second one"):
            criterion(outputs, labels)
    scored = Loop("kakurenbo", epochs=20)
    with pytest.raises(RunError, match="kakurenbo asks for scores after this round"):
        _ = [list(scored.steps()) for _ in range(scored.loader.rounds)]


def test_samplers_without_feedback_need_no_loss() -> None:
    loader = BudgetedLoader(_loader(), "rs2", epochs=4, budget=0.5)
    assert sum(len(list(loader)) for _ in range(loader.rounds)) == loader.steps
