"""Parts of a network that are trained for a fraction of the budget."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from trainer.config import Run
from trainer.errors import RunError
from trainer.optimizers import OPTIMIZERS
from trainer.schedules import Linear
from trainer.session import Session
from trainer.updates.annealing import early_factor, end_early, parse

Recipe = Callable[..., Run]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_part_has_groups_of_its_own_that_are_updated(name: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    optimizer = OPTIMIZERS[name]().build(tuple(net.named_parameters()))
    end_early(optimizer, net, ("1=0.5", "0.bias=0.25"))
    found = {id(p): group.get("until") for group in optimizer.param_groups for p in group["params"]}
    names = {key: found[id(value)] for key, value in net.named_parameters()}
    early = {"0.bias": 0.25, "1.weight": 0.5, "1.bias": 0.5}
    assert names == {key: early.get(key) for key in names}
    assert all(group["params"] and "initial_lr" in group for group in optimizer.param_groups)
    for group in optimizer.param_groups:
        group["lr"] = 0.0 if group.get("until") == 0.5 else group["initial_lr"]
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    for value in net.parameters():
        value.grad = torch.ones_like(value)
    optimizer.step()
    moved = {key for key, value in net.named_parameters() if not torch.equal(value, before[key])}
    assert moved == set(before) - {"1.weight", "1.bias"}


def test_the_whole_schedule_ends_early() -> None:
    schedule = Linear(final=0.0)
    assert [early_factor(schedule, at / 8, 0.5) for at in range(9)] == [1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0]
    assert early_factor(Linear(final=0.5), 0.5, 0.5) == 0


def test_a_part_stays_as_it_is_when_its_time_is_over(
    recipe: Recipe, train_run: Callable[..., Session]
) -> None:
    whole = train_run(recipe(train_until=["head=0.01"], seed=3))
    assert whole.step.optimizer.param_groups[-1]["lr"] == 0
    torch.manual_seed(3)
    start = recipe().model.build(10)
    # One step at the full rate was made before: of so few images that hardly anything moved.
    assert not torch.equal(whole.encoder.head.weight, start.head.weight)  # type: ignore[arg-type]
    moved = (whole.encoder.head.weight - start.head.weight).norm()  # type: ignore[operator]
    free = train_run(recipe(seed=3))
    assert moved < 0.5 * (free.encoder.head.weight - start.head.weight).norm()  # type: ignore[operator]


@pytest.mark.parametrize("entry", ["head", "=0.5", "head=0", "head=1", "head=x", "head=nan"])
def test_refuses_what_is_no_part_with_a_fraction(entry: str) -> None:
    with pytest.raises(RunError, match=r"train_until must be parts .*; got '.*': write whiten=0.375"):
        parse((entry,))


def test_refuses_a_part_that_the_network_lacks() -> None:
    net = nn.Sequential(nn.Linear(3, 4))
    optimizer = OPTIMIZERS["sgd"]().build(tuple(net.named_parameters()))
    with pytest.raises(RunError, match=r"train_until must name parts of the network; got 'haed', .* has 0"):
        end_early(optimizer, net, ("haed=0.5",))
    with pytest.raises(RunError, match=r"each part once; got '0=0\.6'"):
        parse(("0=0.5", "0=0.6"))
