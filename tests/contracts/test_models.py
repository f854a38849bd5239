"""What every model part promises, at its defaults."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from trainer.errors import RunError
from trainer.models import MODELS, check_encoder, parameters

CLASSES = 7


@pytest.fixture(params=MODELS)
def part(request: pytest.FixtureRequest):
    return MODELS[request.param]()


def build(part, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return part.build(CLASSES)


def batch(side: int, n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, side, side, generator=generator), torch.arange(n) % CLASSES


def test_is_a_frozen_dataclass_with_a_description(part):
    assert dataclasses.is_dataclass(part)
    assert type(part).__doc__.splitlines()[0].endswith(".")
    assert hash(part) == hash(type(part)())


@pytest.mark.parametrize("side", [28, 32])
def test_forward_and_backward_reach_every_parameter(part, side):
    model = build(part)
    images, labels = batch(side)
    logits = model(images)
    assert logits.shape == (len(images), CLASSES)
    assert logits.dtype == torch.float32
    F.cross_entropy(logits, labels).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_state_dict_round_trip(part):
    first, second = build(part, seed=0).eval(), build(part, seed=1).eval()
    images, _ = batch(28)
    with torch.no_grad():
        assert not torch.equal(first(images), second(images))
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(images), second(images))


def test_weights_depend_on_the_seed_alone(part):
    first, second = build(part).state_dict(), build(part).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_channels_last_and_autocast(part):
    model = build(part).to(memory_format=torch.channels_last)
    images, labels = batch(28)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(images.to(memory_format=torch.channels_last))
    assert logits.dtype == torch.bfloat16
    F.cross_entropy(logits.float(), labels).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_compiles_to_one_graph(part):
    torch.compiler.reset()
    model = build(part).eval()
    images, _ = batch(28)
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)(images)
        torch.testing.assert_close(compiled, model(images))


def test_speaks_the_verbs_of_encoders(part):
    encoder = check_encoder(build(part).eval())
    images, _ = batch(28)
    with torch.no_grad():
        features = encoder.forward_features(images)
        read = encoder.forward_head(features, pre_logits=True)
        assert read.shape == (len(images), encoder.num_features)
        expected = encoder(images)
        assert torch.equal(encoder.forward_head(features), expected)
        assert torch.equal(encoder.get_classifier()(read), expected)


def test_a_training_step_on_the_meta_device(part):
    with torch.device("meta"):
        model = part.build(CLASSES)
        loss = F.cross_entropy(model(torch.empty(4, 3, 32, 32)), torch.zeros(4, dtype=torch.int64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss.backward()
    optimizer.step()
    assert all(p.is_meta and p.grad is not None for p in model.parameters())


def test_parameters_counts_every_number(part):
    model = build(part)
    assert parameters(model) == sum(v.numel() for v in dict(model.named_parameters()).values())


@pytest.mark.parametrize("classes", [1, 0, -3])
def test_refuses_fewer_than_two_classes(part, classes):
    with pytest.raises(RunError, match=f"classes must be at least 2 .* got {classes}"):
        part.build(classes)
