"""Contract suite of optimizers, at their defaults."""

from __future__ import annotations

import copy
import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from trainer import recipe
from trainer.config import Run
from trainer.errors import RunError
from trainer.optimizers import OPTIMIZERS, OptimizerConfig
from trainer.settings import comparison


class Net(nn.Module):
    """Convolutions, norms, biases, a lone scale, and a weight that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.middle = nn.Conv2d(4, 4, 3, bias=False)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.middle(torch.relu(self.norm(self.stem(images)))).mean((2, 3))
        out: Tensor = self.scale * self.second(torch.tanh(self.first(hidden)))
        return out


@pytest.fixture(params=OPTIMIZERS)
def part(request: pytest.FixtureRequest) -> OptimizerConfig:
    made: OptimizerConfig = OPTIMIZERS[request.param]()
    return made


def build(part: OptimizerConfig, net: nn.Module) -> torch.optim.Optimizer:
    return part.build(tuple(net.named_parameters()))


def step(net: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    device = next(net.parameters()).device
    generator = None if device.type == "meta" else torch.Generator().manual_seed(seed)
    images = torch.randn(4, 3, 8, 8, generator=generator, device=device)
    optimizer.zero_grad(set_to_none=True)
    net(images).square().mean().backward()
    optimizer.step()


def weights(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.named_parameters()}


def members(optimizer: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]


def decays(optimizer: torch.optim.Optimizer, net: nn.Module) -> dict[str, float]:
    names = {id(value): name for name, value in net.named_parameters()}
    return {
        names[id(value)]: group["weight_decay"]
        for group in optimizer.param_groups
        for value in group["params"]
    }


def rates(optimizer: torch.optim.Optimizer, net: nn.Module) -> dict[str, float]:
    names = {id(value): name for name, value in net.named_parameters()}
    return {
        names[id(value)]: group["initial_lr"] for group in optimizer.param_groups for value in group["params"]
    }


def replaced(part: OptimizerConfig, **options: Any) -> OptimizerConfig:
    return dataclasses.replace(part, **options)  # type: ignore[type-var]


def test_is_a_frozen_dataclass_with_a_description(part: OptimizerConfig) -> None:
    assert dataclasses.is_dataclass(part)
    assert (type(part).__doc__ or "").splitlines()[0].endswith(".")
    assert hash(part) == hash(type(part)())


def test_groups_hold_every_parameter_exactly_once(part: OptimizerConfig) -> None:
    net = Net()
    optimizer = build(part, net)
    assert sorted(map(id, members(optimizer))) == sorted(map(id, net.parameters()))
    assert all(group["params"] for group in optimizer.param_groups)


def test_groups_keep_the_rate_that_they_begin_with(part: OptimizerConfig) -> None:
    optimizer = build(part, Net())
    assert all(group["initial_lr"] == group["lr"] > 0 for group in optimizer.param_groups)
    assert part.lr in [group["initial_lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.5 * group["initial_lr"]
    state = optimizer.state_dict()
    assert all(group["initial_lr"] == 2 * group["lr"] for group in state["param_groups"])


def test_norms_and_biases_are_not_decayed_unless_asked_for(part: OptimizerConfig) -> None:
    net = Net()
    spared = {"norm.weight", "norm.bias", "first.bias", "second.bias", "scale"}
    found = decays(build(replaced(part, weight_decay=0.25), net), net)
    assert found == {name: 0.0 if name in spared else 0.25 for name, _ in net.named_parameters()}
    everything = replaced(part, weight_decay=0.25, decay="all")
    assert set(decays(build(everything, net), net).values()) == {0.25}


@pytest.mark.parametrize("only", ["norm", "stem"])
def test_a_module_of_one_kind_of_parameter_has_no_empty_group(part: OptimizerConfig, only: str) -> None:
    module = getattr(Net(), only)
    assert all(group["params"] for group in build(part, module).param_groups)


def test_steps_move_every_weight_and_are_repeatable(part: OptimizerConfig) -> None:
    first, second = Net(), Net()
    second.load_state_dict(first.state_dict())
    before = weights(first)
    for net in (first, second):
        optimizer = build(part, net)
        for seed in range(3):
            step(net, optimizer, seed)
    for name, value in weights(first).items():
        assert not torch.equal(value, before[name]), name
        assert torch.equal(value, weights(second)[name]), name


def test_goes_on_from_its_state_with_the_same_weights(part: OptimizerConfig) -> None:
    net = Net()
    optimizer = build(part, net)
    for seed in range(2):
        step(net, optimizer, seed)
    for group in optimizer.param_groups:
        group["lr"] *= 0.5
    other = copy.deepcopy(net)
    resumed = build(part, other)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for seed in range(2, 4):
        step(net, optimizer, seed)
        step(other, resumed, seed)
    there = weights(other)
    assert all(torch.equal(value, there[name]) for name, value in weights(net).items())
    rates = [(group["lr"], group["initial_lr"]) for group in resumed.param_groups]
    assert rates == [(0.5 * initial, initial) for _, initial in rates]


def test_a_rate_of_zero_leaves_the_weights(part: OptimizerConfig) -> None:
    net = Net()
    optimizer = build(part, net)
    step(net, optimizer, 0)
    before = weights(net)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    step(net, optimizer, 1)
    assert all(torch.equal(value, before[name]) for name, value in weights(net).items())


def test_each_layer_has_a_fraction_of_the_next_ones_rate(part: OptimizerConfig) -> None:
    net = Net()
    plain, decayed = (
        rates(replaced(part, layer_decay=factor).build(tuple(net.named_parameters()), depths), net)
        for factor, depths in (
            (1.0, None),
            (0.5, {"stem.weight": 0, "norm.weight": 0, "middle.weight": 1, "first.bias": 3}),
        )
    )
    factors = {name: decayed[name] / plain[name] for name in plain}
    of_layers = {"stem.weight": 0.125, "norm.weight": 0.125, "middle.weight": 0.25}
    assert factors == {name: of_layers.get(name, 1.0) for name in plain}
    # Without depths, blocks are recognized by their names.
    by_name = rates(build(replaced(part, layer_decay=0.5), net), net)
    stem = dict.fromkeys(("scale", "stem.weight", "norm.weight", "norm.bias"), 0.25)
    blocks = {**stem, "middle.weight": 0.5}
    assert {name: by_name[name] / plain[name] for name in plain} == {
        name: blocks.get(name, 1.0) for name in plain
    }


def test_a_runs_digest_tells_its_options_and_not_its_defaults(part: OptimizerConfig) -> None:
    name = next(name for name, kind in OPTIMIZERS.items() if kind is type(part))
    run = Run(optimizer=part)
    assert recipe.from_table(recipe.to_table(run), "x") == run
    assert comparison.digest(recipe.from_table({"optimizer": name}, "x")) == comparison.digest(run)
    others = [replaced(part, lr=2 * part.lr), replaced(part, layer_decay=0.5), replaced(part, decay="all")]
    assert len({comparison.digest(Run(optimizer=other)) for other in (part, *others)}) == 4


def test_a_schedules_momentum_has_a_place_in_every_group_or_in_none(part: OptimizerConfig) -> None:
    key = part.momentum_key
    assert key is None or all(key in group for group in build(part, Net()).param_groups)


def test_a_step_on_the_meta_device_waits_for_nothing(part: OptimizerConfig) -> None:
    """Reading a value there (.item(), nonzero, .cpu()) raises."""
    with torch.device("meta"):
        net = Net()
    optimizer = build(part, net)
    for seed in range(2):
        step(net, optimizer, seed)
    states = [value for state in optimizer.state.values() for value in state.values()]
    assert all(value.is_meta for value in states if isinstance(value, Tensor) and value.ndim)


def test_a_step_of_fake_tensors_waits_for_nothing(part: OptimizerConfig) -> None:
    with FakeTensorMode():
        net = Net()
        optimizer = build(part, net)
        for seed in range(2):
            step(net, optimizer, seed)


def test_double_precision_stays_so(part: OptimizerConfig) -> None:
    net = nn.Linear(3, 2).double()
    optimizer = build(part, net)
    net(torch.randn(4, 3, dtype=torch.float64)).square().mean().backward()
    optimizer.step()
    states = [value for state in optimizer.state.values() for value in state.values()]
    assert all(value.dtype == torch.float64 for value in states if isinstance(value, Tensor) and value.ndim)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("lr", 0.0, "optimizer.lr must be above 0 and finite; got 0"),
        ("lr", -1.0, "optimizer.lr must be above 0 and finite; got -1"),
        ("lr", float("nan"), "optimizer.lr must be above 0 and finite; got nan"),
        ("lr", float("inf"), "optimizer.lr must be above 0 and finite; got inf"),
        ("weight_decay", -1e-4, "optimizer.weight_decay must be at least 0 and finite; got -0.0001"),
        ("weight_decay", float("nan"), "optimizer.weight_decay must be at least 0 and finite; got nan"),
        ("weight_decay", float("inf"), "optimizer.weight_decay must be at least 0 and finite; got inf"),
        ("layer_decay", 0.0, "optimizer.layer_decay must be above 0 and at most 1; got 0"),
        ("layer_decay", 1.1, "optimizer.layer_decay must be above 0 and at most 1; got 1.1"),
        ("layer_decay", float("nan"), "optimizer.layer_decay must be above 0 and at most 1; got nan"),
    ],
)
def test_refuses_rates_and_decays_out_of_range(
    part: OptimizerConfig, option: str, value: float, message: str
) -> None:
    with pytest.raises(RunError, match=f"^{message}$"):
        replaced(part, **{option: value})
