"""Contract suite of models, at their defaults, or narrower if those are large."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from trainer.errors import RunError
from trainer.models import MODELS, ModelConfig, check_encoder, parameters
from trainer.models.channels import with_channels
from trainer.models.pyramidnet import PyramidNet
from trainer.models.resnet import BasicBlock, Bottleneck, ResNet
from trainer.slots import SLOTS

CLASSES = 7
NARROW = {"resnet101": {"width": 4}, "resnet152": {"width": 4}, "timm": {"arch": "test_efficientnet"}}
SIDES = {"vit_s16": 16}
SHALLOW: dict[str, Callable[[], torch.nn.Module]] = {
    "resnet34": lambda: ResNet(BasicBlock, (1, 2, 1, 1), 4, CLASSES),
    "resnet50": lambda: ResNet(Bottleneck, (2, 1, 1, 1), 4, CLASSES),
    "resnet101": lambda: ResNet(Bottleneck, (1, 1, 1, 1), 4, CLASSES),
    "resnet152": lambda: ResNet(Bottleneck, (1, 2, 1, 1), 4, CLASSES),
    "pyramidnet110": lambda: PyramidNet(1, 6, False, CLASSES),
    "pyramidnet164": lambda: PyramidNet(1, 6, True, CLASSES),
}
"""The same blocks in networks of a few: compiling takes longer with every block, and so do new kernels."""


@pytest.fixture(params=MODELS)
def part(request: pytest.FixtureRequest) -> ModelConfig:
    if request.param == "timm":
        pytest.importorskip("timm")
    return MODELS[request.param](**NARROW.get(request.param, {}))  # type: ignore[arg-type]


@pytest.fixture
def side(part: ModelConfig) -> int:
    """A size that is not the usual one."""
    return SIDES.get(SLOTS["model"].part_name(part), 28)


def build(part: ModelConfig, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = part.build(CLASSES)
    head = model.get_classifier()  # type: ignore[operator]
    if not head.weight.any():
        # A head that begins at zero hands nothing on.
        torch.nn.init.normal_(head.weight, std=0.1)
    return model


def shallow(part: ModelConfig) -> torch.nn.Module:
    name = SLOTS["model"].part_name(part)
    return SHALLOW[name]() if name in SHALLOW else build(part)


def batch(side: int, n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, side, side, generator=generator), torch.arange(n) % CLASSES


def test_is_a_frozen_dataclass_with_a_description(part: ModelConfig) -> None:
    assert dataclasses.is_dataclass(part)
    assert type(part).__doc__.splitlines()[0].endswith(".")
    assert hash(part) == hash(dataclasses.replace(part))


@pytest.mark.parametrize("usual", [False, True])
def test_forward_and_backward_reach_every_parameter(part: ModelConfig, side: int, usual: bool) -> None:
    model = build(part)
    images, labels = batch(32 if usual else side)
    logits = model(images)
    assert logits.shape == (len(images), CLASSES)
    assert logits.dtype == torch.float32
    F.cross_entropy(logits, labels).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_state_dict_round_trip(part: ModelConfig, side: int) -> None:
    first, second = build(part, seed=0).eval(), build(part, seed=1).eval()
    images, _ = batch(side)
    with torch.no_grad():
        assert not torch.equal(first(images), second(images))
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(images), second(images))


def test_weights_depend_on_the_seed_alone(part: ModelConfig) -> None:
    first, second = build(part).state_dict(), build(part).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_channels_last_and_autocast(part: ModelConfig, side: int) -> None:
    model = shallow(part).to(memory_format=torch.channels_last)
    images, labels = batch(side)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(images.to(memory_format=torch.channels_last))
    assert logits.dtype == torch.bfloat16
    F.cross_entropy(logits.float(), labels).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())  # type: ignore[arg-type]


def test_compiles_to_one_graph(part: ModelConfig, side: int) -> None:
    torch.compiler.reset()
    model = shallow(part).eval()
    images, _ = batch(side)
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)(images)
        torch.testing.assert_close(compiled, model(images))


def test_speaks_the_verbs_of_encoders(part: ModelConfig, side: int) -> None:
    encoder = check_encoder(build(part).eval())
    images, _ = batch(side)
    with torch.no_grad():
        features = encoder.forward_features(images)
        read = encoder.forward_head(features, pre_logits=True)
        assert read.shape == (len(images), encoder.num_features)
        expected = encoder(images)  # type: ignore[operator]
        assert torch.equal(encoder.forward_head(features), expected)
        assert torch.equal(encoder.get_classifier()(read), expected)


def test_a_training_step_on_the_meta_device(part: ModelConfig) -> None:
    with torch.device("meta"):
        model = part.build(CLASSES)
        loss = F.cross_entropy(model(torch.empty(4, 3, 32, 32)), torch.zeros(4, dtype=torch.int64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss.backward()
    optimizer.step()
    assert all(p.is_meta and p.grad is not None for p in model.parameters())


def test_parameters_counts_every_number(part: ModelConfig) -> None:
    model = build(part)
    assert parameters(model) == sum(v.numel() for v in dict(model.named_parameters()).values())


def test_without_classes_outputs_are_features(part: ModelConfig, side: int) -> None:
    torch.manual_seed(0)
    encoder = check_encoder(part.build(0).eval())
    assert not list(encoder.get_classifier().parameters())
    images, _ = batch(side)
    with torch.no_grad():
        read = encoder.forward_head(encoder.forward_features(images), pre_logits=True)
        assert read.shape == (len(images), encoder.num_features)
        assert torch.equal(encoder(images), read)  # type: ignore[operator]
        assert torch.equal(encoder.get_classifier()(read), read)


def test_one_output_is_a_value(part: ModelConfig, side: int) -> None:
    assert part.build(1).eval()(batch(side)[0]).shape == (3, 1)


def test_refuses_a_negative_number_of_classes(part: ModelConfig) -> None:
    with pytest.raises(RunError, match="classes must be at least 0; got -3"):
        part.build(-3)


def test_a_network_of_one_channel_computes_what_that_of_three_does_of_gray_images(
    part: ModelConfig, side: int
) -> None:
    color, gray = build(part).double().eval(), with_channels(build(part).double(), 1).eval()
    images = batch(side)[0].double()[:, :1]
    with torch.no_grad():
        torch.testing.assert_close(gray(images), color(images.expand(-1, 3, -1, -1)))
    # Of the state, since the first filters may be fixed.
    sizes = [sum(value.numel() for value in network.state_dict().values()) for network in (gray, color)]
    assert sizes[0] < sizes[1]
    assert all(parameter.requires_grad for parameter in gray.parameters())
