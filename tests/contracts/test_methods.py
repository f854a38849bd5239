"""Contract suite of methods: options, losses, state, steps on two ranks."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from self_distillation import SelfDistillation
from teachers import with_teacher
from torch import Tensor
from two_ranks import run_two_ranks

from pipeline import Batch
from pipeline.targets import TargetSpec
from trainer.account import Ledger
from trainer.budget.flops import meta_batch
from trainer.methods import METHODS, Losses, Method, MethodConfig
from trainer.methods.distillation import Distillation
from trainer.models.resnet import ResNet8
from trainer.step import Step

CONFIGS: dict[str, type[MethodConfig]] = {**METHODS, "self_distillation": SelfDistillation}
SMALL: dict[str, dict[str, Any]] = {
    "simsiam": {"out": 16, "bottleneck": 8},
    "byol": {"hidden": 16, "out": 8},
    "simclr": {"out": 8},
    "moco": {"out": 8, "queue": 32},
    "dino": {"hidden": 16, "bottleneck": 8, "out": 24, "frozen": 0},
}
"""Options for heads as small as these tests' encoder, all of which is trained from the first step."""
N = 6
STATISTICS = ("p_true", "error", "correct")


def made(name: str, folder: Path) -> MethodConfig:
    return with_teacher(CONFIGS[name](**SMALL.get(name, {})), folder)


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> MethodConfig:
    return made(request.param, tmp_path)


def build(config: MethodConfig, seed: int = 0) -> Method:
    torch.manual_seed(seed)
    return config.build(ResNet8(width=4).build(classes=10))


def batch(config: MethodConfig, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    views = tuple(torch.randn(N, 3, 16, 16, generator=generator) for _ in range(config.views))
    values = {
        "class": torch.randint(0, 10, (N,), generator=generator),
        "multi_label": torch.randint(0, 2, (N, 10), generator=generator, dtype=torch.uint8),
        "value": torch.randn(N, 10, generator=generator),
    }
    return Batch(np.arange(N), views, {name: values[kind] for name, kind in config.targets.items()})


def further(config: MethodConfig, seed: int = 0) -> dict[str, Batch]:
    """A batch of every further stream: of other images than `batch`, and more of them."""
    generator = torch.Generator().manual_seed(1000 + seed)
    images = torch.randn(2 * N, 3, 16, 16, generator=generator)
    return {name: Batch(np.arange(2 * N), (images,), {}) for name in config.streams}


def spec_of(config: MethodConfig) -> TargetSpec:
    """Targets of ten outputs."""
    kind = config.targets.get("label", "class")
    return TargetSpec(kind, () if kind == "value" else tuple("abcdefghij"), 10 if kind == "value" else None)


def step(method: Method, device: str = "cpu") -> Step:
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1, momentum=0.9)
    return Step(method, method, optimizer, nullcontext(), Ledger(torch.device(device)))


def state(method: Method) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_config_is_a_frozen_dataclass_that_says_what_it_reads(config: MethodConfig) -> None:
    assert dataclasses.is_dataclass(config)
    assert hash(type(config)()) == hash(type(config)())
    assert hash(config) == hash(dataclasses.replace(config))
    assert (type(config).__doc__ or "").splitlines()[0].endswith(".")
    assert config.views >= 1
    assert all(name.isidentifier() for name in (*config.streams, *config.targets))
    assert set(config.offers) <= {*STATISTICS, "scores", "pairs"}


def test_the_method_takes_the_encoder_as_it_is(config: MethodConfig) -> None:
    encoder = ResNet8(width=4).build(classes=10)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    method = config.build(encoder)
    assert method.encoder is encoder
    assert equal(before, encoder.state_dict())
    assert {f"encoder.{name}" for name in before} <= method.state_dict().keys()


def test_every_sample_has_its_loss_and_the_statistics_that_are_offered(config: MethodConfig) -> None:
    losses = build(config)(batch(config), **further(config))
    assert losses.loss.shape == (N, 1)
    assert losses.loss.requires_grad
    assert torch.isfinite(losses.loss).all()
    for name in STATISTICS:
        values = getattr(losses, name)
        assert (values is not None) == (name in config.offers), name
        assert values is None or (values.shape == (N, 1) and not values.requires_grad)


def test_losses_are_each_samples_own(config: MethodConfig) -> None:
    """In evaluation mode, where no statistics join the samples of a batch."""
    whole = batch(config)
    reversed_ = dataclasses.replace(
        whole,
        views=tuple(view.flip(0) for view in whole.views),
        targets={name: values.flip(0) for name, values in whole.targets.items()},
    )
    one, other = build(config).eval(), build(config).eval()
    streams = further(config)
    torch.testing.assert_close(one(whole, **streams).loss, other(reversed_, **streams).loss.flip(0))


def test_a_backward_pass_reaches_all_that_is_trained_and_nothing_else(config: MethodConfig) -> None:
    method = build(config)
    step(method).backward(batch(config), None, further(config))
    for name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_scores_are_losses_of_the_encoders_outputs(config: MethodConfig) -> None:
    if isinstance(config, Distillation):
        # Its scores are those without the teacher.
        config = dataclasses.replace(config, weight=0.0)
    method, given = build(config).eval(), batch(config)
    with torch.no_grad():
        outputs = method.encoder(given.images)
    if "scores" not in config.offers:
        with pytest.raises(NotImplementedError):
            method.losses(outputs, torch.zeros(N, 1, dtype=torch.int64))
        return
    scored, expected = (
        method.losses(outputs, given.constituents(given.targets["label"])),
        method(given, **further(config)),
    )
    for item in dataclasses.fields(Losses):
        torch.testing.assert_close(getattr(scored, item.name), getattr(expected, item.name))


def test_a_state_makes_another_method_the_same(config: MethodConfig) -> None:
    first, second = build(config, seed=0), build(config, seed=1)
    step(first)(batch(config), None, further(config), progress=0.5)
    assert not equal(state(first), state(second))
    second.load_state_dict(first.state_dict())
    for number in range(2):
        losses = []
        for method in (first, second):
            # A run's random numbers are restored with its state.
            torch.manual_seed(number)
            streams = further(config, number)
            losses.append(step(method)(batch(config, number), None, streams, progress=0.7).loss)
        assert torch.equal(*losses)
    assert equal(state(first), state(second))


@pytest.mark.parametrize("progress", [1e-6, 0.5, 1.0])
def test_what_follows_a_step_leaves_the_trained_weights_alone(config: MethodConfig, progress: float) -> None:
    method = build(config)
    trained = {name for name, value in method.named_parameters() if value.requires_grad}
    before = state(method)
    step(method).backward(batch(config), None, further(config))
    method.after_step(progress)
    assert all(
        torch.equal(before[name], value) for name, value in method.state_dict().items() if name in trained
    )
    assert all(value.isfinite().all() for value in method.state_dict().values())


def test_a_whole_step_never_waits_for_the_device(config: MethodConfig) -> None:
    """On the meta device a wait (.item(), nonzero, a boolean index, .cpu()) and a CPU operand raise."""
    with torch.device("meta"):
        method = build(config)
    streams = {name: meta_batch(2 * N, 1, 16, spec_of(config)) for name in config.streams}
    losses = step(method, "meta")(
        meta_batch(N, config.views, 16, spec_of(config)), None, streams, progress=0.5
    )
    assert losses.loss.shape == (N, 1)
    assert losses.loss.is_meta


RANKS = """
import sys
from pathlib import Path
import torch
sys.path[:0] = sys.argv[2:]
torch.set_num_threads(1)
from test_methods import CONFIGS, batch, build, equal, further, made as config_of, state, step
from trainer.parallel import join, leave

world = join("cpu")
for name in CONFIGS:
    config = config_of(name, Path(sys.argv[1]))
    method = build(config, seed=0)
    made = step(method)
    module = world.wrap(method, torch.device("cpu"))
    made = type(made)(method, module, made.optimizer, made.precision, made.ledger)
    for number in range(3):
        # Each rank its own samples, and what ranks share must be the same.
        seed = 10 * number + world.rank
        made(batch(config, seed), None, further(config, seed), progress=(number + 1) / 3)
    weights = {key: value for key, value in method.named_parameters()}
    ranks = world.gather({key: value.detach() for key, value in weights.items()})
    assert equal(*ranks), name
    alone = build(config, seed=0)
    assert not equal({key: value.detach() for key, value in alone.named_parameters()}, ranks[0]), name
leave()
"""


@pytest.mark.slow
def test_two_ranks_hold_the_same_weights(tmp_path: Path) -> None:
    here = Path(__file__).parent
    with_teacher(CONFIGS["distillation"](), tmp_path)
    run_two_ranks(RANKS, str(tmp_path), str(here), str(here.parent / "parts"))
